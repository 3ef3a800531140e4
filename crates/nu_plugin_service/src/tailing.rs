//! [`Tailing`]: log lines from the daemon as they come, from one daemon to the next without a gap or a line twice.
//!
//! Logs outlive the daemon, and so does following them: when it ends, the next one is asked for what came after the
//! last line. It is waited for, and not started: whoever ended it may have meant it.

use crate::cancel::{Heard, Mouth, Worker};
use crate::client::Client;
use crate::session::Session;
use crate::stream::Follow;
use crate::wire::Leash;
use jiff::Timestamp;
use nu_protocol::LabeledError;
use service_api::{Code, Problem, routes, view};
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::vec;

/// How long a daemon that ended may take to come back.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked for meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// No line is longer; of one that has not ended so much is kept.
const MOST_KEPT: usize = 1 << 20;

/// So many lines at most are handed over together.
const TOGETHER: usize = 256;

/// Which lines.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// Joined by commas; empty: all.
    pub(crate) names: String,
    /// Of each service the last so many; empty: all.
    pub(crate) tail: String,
    /// A time; empty: since ever.
    pub(crate) since: String,
    pub(crate) follow: bool,
}

/// The lines of one call. Dropping it ends the connection.
pub(crate) struct Tailing {
    worker: Worker<Words>,
    /// What has been heard and not been given yet.
    heard: vec::IntoIter<view::LogLine>,
    held: Arc<Mutex<Held>>,
}

/// Lines that were read together: a word for each would take longer than the line.
type Words = Result<Vec<view::LogLine>, Problem>;

/// What the reading thread is held by.
enum Held {
    By {
        _leash: Leash,
    },
    /// Nobody listens any more.
    Over,
}

impl Tailing {
    /// Returns once the daemon has accepted.
    pub(crate) fn open(session: &Session, client: Client, wanted: Wanted) -> Result<Self, LabeledError> {
        let (first, again) = (wanted.clone(), session.clone());
        let (follow, leash) = session.patiently(move || match ask(&client, &first) {
            // It was just ending: the next one, which is being started, or is started now.
            Err(problem) if problem.code == Code::DaemonUnreachable => ask(&again.reach_or_start()?, &first),
            asked => asked,
        })?;
        let held = Arc::new(Mutex::new(Held::By { _leash: leash }));
        let reader = Reader {
            session: session.clone(),
            wanted,
            held: Arc::clone(&held),
            seen: Seen::new(Timestamp::now()),
        };
        let work = move |mouth: &Mouth<_>| reader.read(follow, mouth);
        // As with events: whoever reads no more is heard of only with the next line.
        let worker = match session.is_in_foreground() {
            true => Worker::until_prompt(&session.engine, work),
            false => Worker::spawn(&session.engine, work),
        }?;
        Ok(Self { worker, heard: Vec::new().into_iter(), held })
    }

    /// The next line; none within `limit` if there is one.
    pub(crate) fn hear(&mut self, limit: Option<Duration>) -> Heard<Result<view::LogLine, Problem>> {
        loop {
            if let Some(line) = self.heard.next() {
                return Heard::Said(Ok(line));
            }
            match self.worker.hear(limit) {
                Heard::Said(Ok(lines)) => self.heard = lines.into_iter(),
                Heard::Said(Err(problem)) => return Heard::Said(Err(problem)),
                Heard::Over => return Heard::Over,
                Heard::Interrupted => return Heard::Interrupted,
                Heard::Late => return Heard::Late,
            }
        }
    }
}

impl Drop for Tailing {
    fn drop(&mut self) {
        *lock(&self.held) = Held::Over;
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(client: &Client, wanted: &Wanted) -> Result<(Follow<view::LogLine>, Leash), Problem> {
    let follow = if wanted.follow { "true" } else { "" };
    let query = [
        ("names", wanted.names.as_str()),
        ("tail", &wanted.tail),
        ("since", &wanted.since),
        ("follow", follow),
    ];
    Follow::open(client, routes::LOGS, &query)
}

/// How the lines of an answer were told.
enum Told {
    All,
    Until(Box<Problem>),
    Nobody,
}

/// The thread that reads.
struct Reader {
    session: Session,
    wanted: Wanted,
    held: Arc<Mutex<Held>>,
    seen: Seen,
}

impl Reader {
    fn read(mut self, mut follow: Follow<view::LogLine>, mouth: &Mouth<Words>) {
        loop {
            let problem = match self.tell(&mut follow, mouth) {
                Told::All if self.wanted.follow => None,
                Told::Until(problem) if self.wanted.follow && problem.code == Code::DaemonUnreachable => None,
                Told::Until(problem) => Some(*problem),
                Told::All | Told::Nobody => return,
            };
            let again = problem.map_or_else(|| self.again(), Err);
            follow = match again {
                Ok(Some(follow)) => follow,
                Ok(None) => return,
                Err(problem) => {
                    mouth.say(Err(problem));
                    return;
                }
            };
        }
    }

    /// Hands over the lines of one answer.
    fn tell(&mut self, follow: &mut Follow<view::LogLine>, mouth: &Mouth<Words>) -> Told {
        let mut lines = Vec::new();
        while let Some(line) = follow.next() {
            let problem = match line {
                Ok(line) => {
                    if self.wanted.follow {
                        lines.extend(self.seen.fresh(line));
                    } else {
                        lines.push(line);
                    }
                    None
                }
                Err(problem) => Some(problem),
            };
            let full = lines.len() == TOGETHER || problem.is_some() || !follow.has_next();
            if full && !lines.is_empty() && !mouth.say(Ok(mem::take(&mut lines))) {
                return Told::Nobody;
            }
            if let Some(problem) = problem {
                return Told::Until(Box::new(problem));
            }
        }
        Told::All
    }

    /// Asks the next daemon for what follows; nothing if nobody listens any more.
    fn again(&mut self) -> Result<Option<Follow<view::LogLine>>, Problem> {
        let since = self.seen.resume().to_string();
        let wanted = Wanted { since, tail: String::new(), ..self.wanted.clone() };
        let deadline = Instant::now() + BACK_WITHIN;
        loop {
            let asked = self.session.reach().and_then(|client| ask(&client, &wanted));
            let mut held = lock(&self.held);
            if matches!(*held, Held::Over) {
                return Ok(None);
            }
            match asked {
                Ok((follow, leash)) => {
                    *held = Held::By { _leash: leash };
                    return Ok(Some(follow));
                }
                // One that is just ending gives odd answers.
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
            drop(held);
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Which lines have been told. Lines of one read have one time, so those of the last time are counted.
struct Seen {
    /// Of a service that was silent since then nothing has been told.
    began: Timestamp,
    last: HashMap<String, (Timestamp, usize)>,
    /// What of the last time is still to be passed over, after a daemon was asked again.
    again: Option<HashMap<String, (Timestamp, usize)>>,
    /// By service and stream: the line that has not ended, as far as it was told.
    open: HashMap<(String, String), String>,
    /// The same as it was when a daemon was asked again, until it has told the line anew.
    reopened: HashMap<(String, String), String>,
}

impl Seen {
    fn new(began: Timestamp) -> Self {
        Self { began, last: HashMap::new(), again: None, open: HashMap::new(), reopened: HashMap::new() }
    }

    /// What of a line has not been told before. A daemon that was asked again tells a line that has not ended from its
    /// beginning.
    fn fresh(&mut self, mut line: view::LogLine) -> Option<view::LogLine> {
        if !self.is_new(&line) {
            return None;
        }
        let stream = (line.service.clone(), line.stream.clone());
        let mut told = self.open.remove(&stream).unwrap_or_default();
        let mut is_over = false;
        if let Some(before) = self.reopened.remove(&stream).filter(|_| !line.continues)
            && let Some(rest) = line.line.strip_prefix(&before)
        {
            told = before.clone();
            (line.line, line.continues) = (rest.to_owned(), true);
            is_over = line.line.is_empty();
        }
        if line.partial && told.len() < MOST_KEPT {
            let told = if line.continues { told + &line.line } else { line.line.clone() };
            self.open.insert(stream, told);
        }
        Some(line).filter(|_| !is_over)
    }

    /// Whether a line has not been told before; then it has been now.
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

    /// From when on a daemon is to be asked again.
    fn resume(&mut self) -> Timestamp {
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
        let mut seen = Seen::new(Timestamp::from_second(100).unwrap());
        let told = |seen: &mut Seen, second, text: &str, partial, continues| {
            let line = view::LogLine { line: text.into(), partial, continues, ..line("a", second) };
            seen.fresh(line).map(|line| (line.line, line.continues))
        };
        let row = |text: &str, continues| Some((text.to_owned(), continues));
        assert_eq!(told(&mut seen, 101, "Overwrite", true, false), row("Overwrite", false));
        assert_eq!(told(&mut seen, 102, "? ", true, true), row("? ", true));
        seen.resume();
        assert_eq!(told(&mut seen, 103, "Overwrite? yes", false, false), row("yes", true));
        assert_eq!(told(&mut seen, 104, "Overwrite? no", false, false), row("Overwrite? no", false));
        assert_eq!(told(&mut seen, 105, "all", true, false), row("all", false));
        assert_eq!(
            told(&mut seen, 106, "all of another line", false, false),
            row("all of another line", false)
        );
        assert_eq!(told(&mut seen, 107, "all", true, false), row("all", false));
        seen.resume();
        assert_eq!(told(&mut seen, 108, "all", false, false), None, "it has ended, which shows nothing");
    }

    #[test]
    fn after_a_break_only_what_was_not_told_is_new() {
        let mut seen = Seen::new(Timestamp::from_second(100).unwrap());
        // What was there before it began, then two lines of one moment.
        assert!(seen.is_new(&line("a", 50)));
        assert!(seen.is_new(&line("a", 101)));
        assert!(seen.is_new(&line("a", 101)));
        assert_eq!(seen.resume().as_second(), 101);
        let told = [line("a", 50), line("a", 101), line("a", 101), line("b", 99)];
        assert!(told.iter().all(|line| !seen.is_new(line)));
        assert!(seen.is_new(&line("a", 101)), "a third line of that moment");
        assert!(seen.is_new(&line("b", 102)));
        assert!(seen.is_new(&line("a", 103)));
        assert_eq!(seen.resume().as_second(), 102);
        assert!(!seen.is_new(&line("b", 102)) && !seen.is_new(&line("a", 103)));
    }

    #[test]
    fn with_nothing_told_it_resumes_where_it_began() {
        let mut seen = Seen::new(Timestamp::from_second(100).unwrap());
        assert_eq!(seen.resume().as_second(), 100);
        assert!(!seen.is_new(&line("a", 99)));
        assert!(seen.is_new(&line("a", 100)));
    }
}
