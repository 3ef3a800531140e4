//! [`Reading`]: the logs of many services for one reader, first what is there, then, if it follows, what comes.
//!
//! A reader sets the pace: the next piece is read from the files when the last one was taken, so a slow reader costs
//! neither the daemon memory nor a service time, however long its logs are. Few read at once, so however many readers
//! there are, the machine is there for others. A follower sleeps until inotify tells of a change in the directory of one
//! of its logs; nothing is polled.

mod ahead;
mod changes;

use crate::host::blocking::run_blocking;
use crate::host::fs::private_dir;
use crate::host::paths::Paths;
use crate::manager::{LogFile, News};
use ahead::{Ahead, Source};
use jiff::Timestamp;
use service_api::{Code, Envelope, Problem, view};
use service_core::Name;
use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;

use changes::Follows;
pub(crate) use changes::LogWatcher;

/// A piece of an answer is a little more than so many bytes.
const PIECE: usize = 16 * 1024;
/// So much is searched for the first line before it counts as long.
const NEAR: usize = 512 * 1024;
/// So many pieces are read at once: it is the processor that reads, and it has other work.
static PIECES: Semaphore = Semaphore::const_new(2);
/// Long searches stand in a line of their own: whoever wants the last few lines does not wait for them.
static SEARCHES: Semaphore = Semaphore::const_new(1);

/// Which lines somebody wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The services, and whether their output comes to us.
    pub(crate) services: Vec<(Name, bool)>,
    /// Of each the last so many.
    pub(crate) most: usize,
    /// None from before.
    pub(crate) since: Option<Timestamp>,
}

/// What managers tell.
#[derive(Default)]
pub(crate) struct Managed {
    /// What there is, of those that can tell it.
    pub(crate) records: Vec<(Name, Option<LogFile>)>,
    /// What comes, for who follows.
    pub(crate) news: Option<News>,
}

/// How a reader wants lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// All in one envelope.
    List,
    /// One envelope a line.
    Lines,
}

/// What one reader has before them.
pub(crate) struct Reading {
    logs: Ahead,
    form: Form,
    told: Told,
    follows: Option<Follows>,
    news: Option<News>,
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Some,
    /// All that was there at first.
    Past,
}

impl Reading {
    /// What is there, and what will be where it is followed.
    pub(crate) async fn open(
        paths: &Arc<Paths>,
        changes: &Arc<LogWatcher>,
        wanted: Wanted,
        managed: Managed,
        form: Form,
        follow: bool,
    ) -> io::Result<Self> {
        for (lane, bytes) in [(&PIECES, NEAR), (&SEARCHES, usize::MAX)] {
            let (paths, wanted) = (Arc::clone(paths), wanted.clone());
            let follows = if follow { Some(changes.follow()?) } else { None };
            let opened = run_blocking(lane, move || match follows {
                Some(follows) => Self::following(&paths, &wanted, follows, bytes),
                None => Self::once(&paths, &wanted, form, bytes),
            });
            if let Some(mut reading) = opened.await?? {
                reading.logs.add(managed.records);
                reading.news = managed.news;
                return Ok(reading);
            }
        }
        Err(io::Error::other("a search without a bound was given up"))
    }

    fn once(paths: &Paths, wanted: &Wanted, form: Form, bytes: usize) -> io::Result<Option<Self>> {
        let logs = wanted.services.iter().map(|(name, _)| {
            let tail = paths.files(name).tail_within(wanted.most, wanted.since, bytes)?;
            Ok(tail.map(|tail| (name.clone(), Source::Tail(tail))))
        });
        let logs = logs.collect::<io::Result<Option<_>>>()?;
        Ok(logs.map(|logs| Self { logs, form, told: Told::Nothing, follows: None, news: None }))
    }

    fn following(
        paths: &Paths,
        wanted: &Wanted,
        mut follows: Follows,
        bytes: usize,
    ) -> io::Result<Option<Self>> {
        let ours = wanted.services.iter().filter(|(_, is_ours)| *is_ours);
        let logs = ours.map(|(name, _)| {
            let files = paths.files(name);
            // It may never have run; and what changes between this and the reading is told again.
            private_dir(files.directory())?;
            follows.watch(files.directory())?;
            let follower = files.follow_within(wanted.most, wanted.since, bytes)?;
            Ok(follower.map(|follower| (name.clone(), Source::Follower(follower))))
        });
        let (logs, form) = (logs.collect::<io::Result<Option<_>>>()?, Form::Lines);
        Ok(logs.map(|logs| Self { logs, form, told: Told::Nothing, follows: Some(follows), news: None }))
    }

    /// Sends all to one reader, until they are gone or the daemon ends, which `end` tells.
    pub(crate) async fn send(mut self, reader: Sender<io::Result<Vec<u8>>>, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            let place = tokio::select! {
                place = reader.reserve() => place,
                () = &mut end => return,
            };
            let Ok(place) = place else { return };
            // Files and JSON take time, and the runtime has one thread.
            let Ok((piece, same)) = run_blocking(&PIECES, move || (self.piece(), self)).await else { return };
            self = same;
            let (piece, more) = match piece {
                Ok((piece, more)) => (Ok(piece), more),
                Err(error) => (self.failure(error), false),
            };
            if !piece.as_ref().is_ok_and(Vec::is_empty) {
                place.send(piece);
            }
            if more {
                continue;
            }
            let Some(follows) = self.follows.as_ref().filter(|_| self.told == Told::Past) else { return };
            tokio::select! {
                () = follows.changed() => {}
                (name, lines) = next(&mut self.news) => self.logs.hear(&name, lines),
                () = reader.closed() => return,
                () = &mut end => return,
            }
        }
    }

    /// The next lines as JSON, and whether there may be more by now.
    fn piece(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let mut piece = Vec::new();
        if self.told == Told::Past {
            let more = self.logs.come(|line| write_line(&mut piece, line))?;
            return Ok((piece, more));
        }
        while piece.len() < PIECE {
            let next = self.logs.next()?;
            let opening = match (self.form, self.told) {
                (Form::Lines, _) => "",
                (Form::List, Told::Nothing) => "{\"success\":true,\"data\":[",
                (Form::List, _) => ",",
            };
            match next {
                Some(line) => {
                    piece.extend_from_slice(opening.as_bytes());
                    match self.form {
                        Form::Lines => write_line(&mut piece, line),
                        Form::List => write(&mut piece, &line),
                    }
                    self.told = Told::Some;
                }
                None => {
                    if self.form == Form::List {
                        let opening = if self.told == Told::Nothing { opening } else { "" };
                        piece.extend_from_slice(opening.as_bytes());
                        piece.extend_from_slice(b"],\"error\":null}");
                    }
                    self.told = Told::Past;
                    return Ok((piece, self.follows.is_some()));
                }
            }
        }
        Ok((piece, true))
    }

    /// The last word of an answer that cannot be brought to its end. A list that has begun can only be broken off.
    fn failure(&mut self, error: io::Error) -> io::Result<Vec<u8>> {
        self.follows = None;
        match self.form {
            Form::List => Err(error),
            Form::Lines => {
                let problem = Problem::new(Code::Internal, format!("cannot read a log: {error}"));
                let mut line = Vec::new();
                write(&mut line, &Envelope::<()>::failure(problem));
                line.push(b'\n');
                Ok(line)
            }
        }
    }
}

/// What managers tell next; never, where none does.
async fn next(news: &mut Option<News>) -> (Name, Vec<view::LogLine>) {
    match news {
        Some(news) => match news.next().await {
            Some(told) => told,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

fn write_line(piece: &mut Vec<u8>, line: view::LogLine) {
    write(piece, &Envelope::success(line));
    piece.push(b'\n');
}

fn write(piece: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Text and numbers always are JSON, and memory takes them.
    let _ = serde_json::to_writer(piece, value);
}
