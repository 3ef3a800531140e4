//! [`LogFollower`]: log lines from the daemon, across daemon restarts, without gaps or repeated lines.
//!
//! Logs outlive the daemon, and so does a follower. When the daemon ends, the follower requests the following lines
//! from the next daemon. It waits for the next daemon and does not start one, because the user may have stopped the
//! daemon on purpose.

use crate::session::Session;
use jiff::Timestamp;
use nu_protocol::LabeledError;
use service_api::{Code, Problem, routes, view};
use service_client::client::Client;
use service_client::connection::ShutdownHandle;
use service_client::ndjson_stream::NdjsonStream;
use service_nushell::interruptible::{EventSender, Worker, WorkerEvent};
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::vec;

/// The time limit for a restart of the daemon.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval of attempts to reconnect.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);

/// The maximum length of a retained unfinished line. No line is longer.
const MAX_OPEN_LINE_BYTES: usize = 1 << 20;

/// The maximum number of lines in one batch.
const MAX_BATCH_LINES: usize = 256;

/// The requested lines.
#[derive(Clone)]
pub(crate) struct LogRequest {
    /// The names of the services, joined by commas; empty: all services.
    pub(crate) names: String,
    /// The number of last lines of each service; empty: all.
    pub(crate) tail: String,
    /// The time of the first line; empty: from the beginning.
    pub(crate) since: String,
    pub(crate) follow: bool,
}

/// The lines of one call. Dropping it shuts the connection down.
pub(crate) struct LogFollower {
    worker: Worker<Batch>,
    /// Lines that were received but not returned yet.
    batch: vec::IntoIter<view::LogLine>,
    state: Arc<Mutex<ReaderState>>,
}

/// Lines that were read together, because sending each line separately would take longer than reading it.
type Batch = Result<Vec<view::LogLine>, Problem>;

/// The connection of the reading thread.
enum ReaderState {
    Connected {
        _shutdown: ShutdownHandle,
    },
    /// The call has returned.
    Closed,
}

impl LogFollower {
    /// Returns once the daemon has accepted the request.
    pub(crate) fn open(session: &Session, client: Client, request: LogRequest) -> Result<Self, LabeledError> {
        let (first, again) = (request.clone(), session.clone());
        let (follow, shutdown) = session.with_timeout(move || match open_stream(&client, &first) {
            // The daemon was exiting. The next one is started if needed.
            Err(problem) if problem.code == Code::DaemonUnreachable => {
                open_stream(&again.reach_or_start()?, &first)
            }
            asked => asked,
        })?;
        let state = Arc::new(Mutex::new(ReaderState::Connected { _shutdown: shutdown }));
        let reader = Reader {
            session: session.clone(),
            request,
            state: Arc::clone(&state),
            delivered: DeliveredLines::new(Timestamp::now()),
        };
        let work = move |sender: &EventSender<_>| reader.read(follow, sender);
        // As with events, a plugin notices only with its next line that its stream is not read any more.
        let worker = match session.is_in_foreground() {
            true => Worker::until_prompt(&session.engine, work),
            false => Worker::spawn(&session.engine, work),
        }?;
        Ok(Self { worker, batch: Vec::new().into_iter(), state })
    }

    /// The next line, or a timeout if there is a limit.
    pub(crate) fn receive(&mut self, limit: Option<Duration>) -> WorkerEvent<Result<view::LogLine, Problem>> {
        loop {
            if let Some(line) = self.batch.next() {
                return WorkerEvent::Item(Ok(line));
            }
            match self.worker.receive(limit) {
                WorkerEvent::Item(Ok(lines)) => self.batch = lines.into_iter(),
                WorkerEvent::Item(Err(problem)) => return WorkerEvent::Item(Err(problem)),
                WorkerEvent::Finished => return WorkerEvent::Finished,
                WorkerEvent::Interrupted => return WorkerEvent::Interrupted,
                WorkerEvent::TimedOut => return WorkerEvent::TimedOut,
            }
        }
    }
}

impl Drop for LogFollower {
    fn drop(&mut self) {
        *lock(&self.state) = ReaderState::Closed;
    }
}

fn lock(state: &Mutex<ReaderState>) -> MutexGuard<'_, ReaderState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_stream(
    client: &Client,
    request: &LogRequest,
) -> Result<(NdjsonStream<view::LogLine>, ShutdownHandle), Problem> {
    let follow = if request.follow { "true" } else { "" };
    let query = [
        ("names", request.names.as_str()),
        ("tail", &request.tail),
        ("since", &request.since),
        ("follow", follow),
    ];
    NdjsonStream::open(client, routes::LOGS, &query)
}

/// How the reading of a response ended.
enum ReadEnd {
    All,
    Failed(Box<Problem>),
    Abandoned,
}

/// The state of the reading thread.
struct Reader {
    session: Session,
    request: LogRequest,
    state: Arc<Mutex<ReaderState>>,
    delivered: DeliveredLines,
}

impl Reader {
    fn read(mut self, mut follow: NdjsonStream<view::LogLine>, sender: &EventSender<Batch>) {
        loop {
            let problem = match self.forward(&mut follow, sender) {
                ReadEnd::All if self.request.follow => None,
                ReadEnd::Failed(problem)
                    if self.request.follow && problem.code == Code::DaemonUnreachable =>
                {
                    None
                }
                ReadEnd::Failed(problem) => Some(*problem),
                ReadEnd::All | ReadEnd::Abandoned => return,
            };
            let again = problem.map_or_else(|| self.reconnect(), Err);
            follow = match again {
                Ok(Some(follow)) => follow,
                Ok(None) => return,
                Err(problem) => {
                    sender.send(Err(problem));
                    return;
                }
            };
        }
    }

    /// Forwards the lines of one response.
    fn forward(&mut self, follow: &mut NdjsonStream<view::LogLine>, sender: &EventSender<Batch>) -> ReadEnd {
        let mut lines = Vec::new();
        while let Some(line) = follow.next() {
            let problem = match line {
                Ok(line) => {
                    if self.request.follow {
                        lines.extend(self.delivered.keep_new_part(line));
                    } else {
                        lines.push(line);
                    }
                    None
                }
                Err(problem) => Some(problem),
            };
            let full = lines.len() == MAX_BATCH_LINES || problem.is_some() || !follow.has_next();
            if full && !lines.is_empty() && !sender.send(Ok(mem::take(&mut lines))) {
                return ReadEnd::Abandoned;
            }
            if let Some(problem) = problem {
                return ReadEnd::Failed(Box::new(problem));
            }
        }
        ReadEnd::All
    }

    /// Requests the following lines from the next daemon; `None` if the call has returned.
    fn reconnect(&mut self) -> Result<Option<NdjsonStream<view::LogLine>>, Problem> {
        let since = self.delivered.resume_time().to_string();
        let request = LogRequest { since, tail: String::new(), ..self.request.clone() };
        let deadline = Instant::now() + RECONNECT_TIMEOUT;
        loop {
            let asked = self.session.reach().and_then(|client| open_stream(&client, &request));
            let mut state = lock(&self.state);
            if matches!(*state, ReaderState::Closed) {
                return Ok(None);
            }
            match asked {
                Ok((follow, shutdown)) => {
                    *state = ReaderState::Connected { _shutdown: shutdown };
                    return Ok(Some(follow));
                }
                // A daemon that is exiting may respond with other errors.
                Err(problem)
                    if !matches!(problem.code, Code::DaemonUnreachable | Code::Internal | Code::Timeout) =>
                {
                    return Err(problem);
                }
                Err(_) if Instant::now() >= deadline => {
                    let message = "the daemon has ended, so new log lines are not available";
                    return Err(Problem::new(Code::DaemonUnreachable, message)
                        .help("services keep running and writing logs: run the command again"));
                }
                Err(_) => {}
            }
            drop(state);
            std::thread::sleep(RECONNECT_INTERVAL);
        }
    }
}

/// The delivered lines of each service. Lines of one read have the same time, so the lines with the last time are
/// counted.
struct DeliveredLines {
    /// The start of the request, where a service without delivered lines is resumed.
    began: Timestamp,
    last: HashMap<String, (Timestamp, usize)>,
    /// After a reconnection: the lines with the last time, which the next daemon repeats.
    again: Option<HashMap<String, (Timestamp, usize)>>,
    /// By service and stream: the delivered part of the unfinished line.
    open: HashMap<(String, String), String>,
    /// The unfinished lines at a reconnection, until the next daemon has repeated them.
    reopened: HashMap<(String, String), String>,
}

impl DeliveredLines {
    fn new(began: Timestamp) -> Self {
        Self { began, last: HashMap::new(), again: None, open: HashMap::new(), reopened: HashMap::new() }
    }

    /// The part of a line that was not delivered before. After a reconnection, the daemon repeats an unfinished line
    /// from its beginning.
    fn keep_new_part(&mut self, mut line: view::LogLine) -> Option<view::LogLine> {
        if !self.is_new(&line) {
            return None;
        }
        let stream = (line.service.clone(), line.stream.clone());
        let mut text = self.open.remove(&stream).unwrap_or_default();
        let mut is_over = false;
        if let Some(before) = self.reopened.remove(&stream).filter(|_| !line.continues)
            && let Some(rest) = line.line.strip_prefix(&before)
        {
            text = before.clone();
            (line.line, line.continues) = (rest.to_owned(), true);
            is_over = line.line.is_empty();
        }
        if line.partial && text.len() < MAX_OPEN_LINE_BYTES {
            let text = if line.continues { text + &line.line } else { line.line.clone() };
            self.open.insert(stream, text);
        }
        Some(line).filter(|_| !is_over)
    }

    /// Whether a line was not delivered before. Marks it as delivered.
    fn is_new(&mut self, line: &view::LogLine) -> bool {
        let Ok(time) = line.time.parse::<Timestamp>() else { return true };
        if let Some(again) = &mut self.again {
            match again.get_mut(&line.service) {
                Some((last, _)) if time < *last => return false,
                Some((last, left)) if time == *last && *left > 0 => {
                    *left -= 1;
                    return false;
                }
                None if time < self.began => return false,
                _ => {}
            }
        }
        match self.last.get_mut(&line.service) {
            Some((last, count)) if *last == time => *count += 1,
            Some(last) => *last = (time, 1),
            None => drop(self.last.insert(line.service.clone(), (time, 1))),
        }
        true
    }

    /// The time from which lines are requested from the next daemon.
    fn resume_time(&mut self) -> Timestamp {
        self.again = Some(self.last.clone());
        self.reopened.extend(std::mem::take(&mut self.open));
        self.last.values().map(|(time, _)| *time).min().unwrap_or(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(service: &str, second: i64) -> view::LogLine {
        let time = Timestamp::from_second(second).unwrap().to_string();
        let (service, stream, line) = (service.into(), "stdout".into(), "x".into());
        view::LogLine { time, service, stream, line, partial: false, continues: false }
    }

    #[test]
    fn a_line_that_has_not_ended_is_not_told_again_by_the_next_daemon() {
        let mut delivered = DeliveredLines::new(Timestamp::from_second(100).unwrap());
        let part = |delivered: &mut DeliveredLines, second, text: &str, partial, continues| {
            let line = view::LogLine { line: text.into(), partial, continues, ..line("a", second) };
            delivered.keep_new_part(line).map(|line| (line.line, line.continues))
        };
        let row = |text: &str, continues| Some((text.to_owned(), continues));
        assert_eq!(part(&mut delivered, 101, "Overwrite", true, false), row("Overwrite", false));
        assert_eq!(part(&mut delivered, 102, "? ", true, true), row("? ", true));
        delivered.resume_time();
        assert_eq!(part(&mut delivered, 103, "Overwrite? yes", false, false), row("yes", true));
        assert_eq!(part(&mut delivered, 104, "Overwrite? no", false, false), row("Overwrite? no", false));
        assert_eq!(part(&mut delivered, 105, "all", true, false), row("all", false));
        assert_eq!(
            part(&mut delivered, 106, "all of another line", false, false),
            row("all of another line", false)
        );
        assert_eq!(part(&mut delivered, 107, "all", true, false), row("all", false));
        delivered.resume_time();
        assert_eq!(part(&mut delivered, 108, "all", false, false), None, "the end of the line adds no text");
    }

    #[test]
    fn after_a_break_only_what_was_not_told_is_new() {
        let mut delivered = DeliveredLines::new(Timestamp::from_second(100).unwrap());
        // Lines that already existed, then two lines with the same time.
        assert!(delivered.is_new(&line("a", 50)));
        assert!(delivered.is_new(&line("a", 101)));
        assert!(delivered.is_new(&line("a", 101)));
        assert_eq!(delivered.resume_time().as_second(), 101);
        let repeated = [line("a", 50), line("a", 101), line("a", 101), line("b", 99)];
        assert!(repeated.iter().all(|line| !delivered.is_new(line)));
        assert!(delivered.is_new(&line("a", 101)), "a third line of that moment");
        assert!(delivered.is_new(&line("b", 102)));
        assert!(delivered.is_new(&line("a", 103)));
        assert_eq!(delivered.resume_time().as_second(), 102);
        assert!(!delivered.is_new(&line("b", 102)) && !delivered.is_new(&line("a", 103)));
    }

    #[test]
    fn with_nothing_told_it_resumes_where_it_began() {
        let mut delivered = DeliveredLines::new(Timestamp::from_second(100).unwrap());
        assert_eq!(delivered.resume_time().as_second(), 100);
        assert!(!delivered.is_new(&line("a", 99)));
        assert!(delivered.is_new(&line("a", 100)));
    }
}
