//! [`LogStream`]: the logs of many services for one reader. The existing lines are first; with `follow`, the new lines
//! come after them.
//!
//! The next chunk is read from the files only after the previous one was sent. A slow reader therefore delays no
//! service and uses no memory for unread lines. Few chunks are read at the same time, so that many readers leave CPU
//! time to other work. A follower sleeps until inotify reports a change in the directory of one of its logs; no file is
//! polled.

mod merge;
mod watcher;

pub(super) use watcher::LogWatcher;

use super::envelope_body::{EnvelopeForm, EnvelopeWriter};
use jiff::Timestamp;
use merge::{LogMerger, LogSource};
use service_api::{Envelope, Problem, view};
use service_core::Name;
use service_host::blocking::run_blocking;
use service_host::descriptors::DescriptorBudget;
use service_host::fs::private_dir;
use service_host::paths::Paths;
use service_manager::{LogFile, News};
use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use watcher::WatchedLogs;

/// The size at which a chunk of a response is complete.
const CHUNK_BYTES: usize = 16 * 1024;
/// The maximum number of bytes in a short search for the first line.
const SHORT_SEARCH_BYTES: usize = 512 * 1024;
/// The maximum number of chunks that are read at the same time, because a read uses CPU time.
const MAX_READ_COUNT: usize = 2;
/// The maximum number of long searches at the same time. Long searches have their own permits, so that a reader of the
/// last few lines does not wait for a long search.
const MAX_LONG_SEARCH_COUNT: usize = 1;
/// The maximum number of logs that are open at the same time, counted separately for followers and for other readers.
/// Each log has open files and lines in memory.
pub(super) const MAX_OPEN_LOG_COUNT: usize = 256;

/// The limits of all readers of logs, and the watcher that wakes followers.
pub(super) struct LogReaders {
    reads: Arc<Semaphore>,
    long_searches: Arc<Semaphore>,
    pub(super) follow_permits: Arc<Semaphore>,
    pub(super) read_permits: Arc<Semaphore>,
    watcher: LogWatcher,
}

/// The lines that a reader requests.
#[derive(Debug, Clone)]
pub(super) struct LogRequest {
    /// The services, and whether the orchestrator writes their logs.
    pub(super) services: Vec<(Name, bool)>,
    /// The maximum number of existing lines of each service.
    pub(super) max_lines: usize,
    /// The time of the earliest requested line.
    pub(super) since: Option<Timestamp>,
}

/// The logs of services with managers.
#[derive(Default)]
pub(super) struct ManagerLogs {
    /// The existing lines; `None` for a service whose manager has no log.
    pub(super) records: Vec<(Name, Option<LogFile>)>,
    /// New lines, for a follower.
    pub(super) new_lines: Option<News>,
}

/// The response to one reader.
pub(super) struct LogStream {
    reads: Arc<Semaphore>,
    logs: LogMerger,
    form: EnvelopeForm,
    writer: EnvelopeWriter,
    position: StreamPosition,
    watched: Option<WatchedLogs>,
    new_lines: Option<News>,
}

/// The position in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamPosition {
    /// Lines that existed at the start of the response remain.
    Existing,
    /// The next line is a new one.
    Live,
}

impl Default for LogReaders {
    fn default() -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        let open = || permits(DescriptorBudget::now().logs(MAX_OPEN_LOG_COUNT));
        Self {
            reads: permits(MAX_READ_COUNT),
            long_searches: permits(MAX_LONG_SEARCH_COUNT),
            follow_permits: open(),
            read_permits: open(),
            watcher: LogWatcher::default(),
        }
    }
}

impl LogStream {
    /// Finds the first lines. With `follow`, also watches the logs.
    pub(super) async fn open(
        readers: &LogReaders,
        paths: &Arc<Paths>,
        request: LogRequest,
        managed: ManagerLogs,
        form: EnvelopeForm,
        follow: bool,
    ) -> io::Result<Self> {
        for (permits, bytes) in [(&readers.reads, SHORT_SEARCH_BYTES), (&readers.long_searches, usize::MAX)] {
            let (paths, request) = (Arc::clone(paths), request.clone());
            let watched = if follow { Some(readers.watcher.follow()?) } else { None };
            let opened = run_blocking(permits, move || match watched {
                Some(watched) => open_followed(&paths, &request, watched, bytes),
                None => Ok(open_existing(&paths, &request, bytes)?.map(|logs| (logs, None))),
            });
            if let Some((mut logs, watched)) = opened.await?? {
                logs.add(managed.records);
                return Ok(Self {
                    reads: Arc::clone(&readers.reads),
                    logs,
                    form,
                    writer: EnvelopeWriter::new(form),
                    position: StreamPosition::Existing,
                    watched,
                    new_lines: managed.new_lines,
                });
            }
        }
        Err(io::Error::other("an unbounded search ended early"))
    }

    /// Sends all lines, until the reader disconnects or `end` completes.
    pub(super) async fn send(mut self, reader: Sender<io::Result<Vec<u8>>>, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        let reads = Arc::clone(&self.reads);
        loop {
            let slot = tokio::select! {
                slot = reader.reserve() => slot,
                () = &mut end => return,
            };
            let Ok(slot) = slot else { return };
            // Reading files and writing JSON takes long, so it must not block the single thread of the runtime.
            let read = run_blocking(&reads, move || (self.read_chunk(), self));
            let Ok((chunk, same)) = read.await else { return };
            self = same;
            let (chunk, has_more) = match chunk {
                Ok((chunk, has_more)) => (Ok(chunk), has_more),
                Err(error) => (self.fail(error), false),
            };
            if !chunk.as_ref().is_ok_and(Vec::is_empty) {
                slot.send(chunk);
            }
            if has_more {
                continue;
            }
            let watched = self.watched.as_ref().filter(|_| self.position == StreamPosition::Live);
            let Some(watched) = watched else { return };
            tokio::select! {
                () = watched.changed() => {}
                (name, lines) = next_manager_lines(&mut self.new_lines) => self.logs.push(&name, lines),
                () = reader.closed() => return,
                () = &mut end => return,
            }
        }
    }

    /// The next chunk, and whether more lines may exist.
    fn read_chunk(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let (logs, writer) = (&mut self.logs, &mut self.writer);
        if self.position == StreamPosition::Live {
            let has_more = logs.read_new(|line| writer.write_row(&line))?;
            return Ok((writer.next_chunk(), has_more));
        }
        while writer.len() < CHUNK_BYTES {
            match logs.next()? {
                Some(line) => writer.write_row(&line),
                None => {
                    writer.finish(&[]);
                    self.position = StreamPosition::Live;
                    return Ok((writer.next_chunk(), self.watched.is_some()));
                }
            }
        }
        Ok((writer.next_chunk(), true))
    }

    /// The last chunk of a response after an error. A list that has begun can only be aborted.
    fn fail(&mut self, error: io::Error) -> io::Result<Vec<u8>> {
        self.watched = None;
        match self.form {
            EnvelopeForm::List => Err(error),
            EnvelopeForm::Lines => {
                let problem = Problem::from_io(&error, format!("cannot read a log: {error}"));
                let mut writer = EnvelopeWriter::new(EnvelopeForm::Lines);
                writer.write_envelope(&Envelope::<()>::failure(problem));
                Ok(writer.next_chunk())
            }
        }
    }
}

/// The logs, if their first lines are found within `bytes` bytes.
fn open_existing(paths: &Paths, request: &LogRequest, bytes: usize) -> io::Result<Option<LogMerger>> {
    let logs = request.services.iter().map(|(name, _)| {
        let tail = paths.files(name).tail_within(request.max_lines, request.since, bytes)?;
        Ok(tail.map(|tail| (name.clone(), LogSource::Tail(tail))))
    });
    logs.collect()
}

/// The followed logs that the orchestrator writes, if their first lines are found within `bytes` bytes.
fn open_followed(
    paths: &Paths,
    request: &LogRequest,
    mut watched: WatchedLogs,
    bytes: usize,
) -> io::Result<Option<(LogMerger, Option<WatchedLogs>)>> {
    let own = request.services.iter().filter(|(_, is_own)| *is_own);
    let logs = own.map(|(name, _)| {
        let files = paths.files(name);
        // The directory may be missing, because the service has never run. A change between this step and the first
        // read is reported twice, which has no effect.
        private_dir(files.directory())?;
        watched.watch(files.directory())?;
        let follower = files.follow_within(request.max_lines, request.since, bytes)?;
        Ok(follower.map(|follower| (name.clone(), LogSource::Follower(follower))))
    });
    let logs = logs.collect::<io::Result<Option<LogMerger>>>()?;
    Ok(logs.map(|logs| (logs, Some(watched))))
}

/// The next new lines of managers. Never completes without followed managers.
async fn next_manager_lines(new_lines: &mut Option<News>) -> (Name, Vec<view::LogLine>) {
    match new_lines {
        Some(new_lines) => match new_lines.next().await {
            Some(next) => next,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
