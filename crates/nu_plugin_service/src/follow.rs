//! [`Follower`]: events as they happen, over daemons that end and come back.
//!
//! The number of the last event is where the next daemon is asked to go on. Server-sent events tell that number also
//! while nothing happens to the services that are asked about. Without a daemon nothing happens, so it is waited for;
//! none is started.

use crate::cancel::{Heard, Mouth, Worker};
use crate::client::Client;
use crate::session::Session;
use crate::table::Row;
use crate::table::events::Long;
use nu_protocol::{LabeledError, ShellError, Value};
use service_api::{Code, Event, Problem, routes};
use std::time::Duration;

/// How long to wait before a daemon is looked for again.
const PAUSE: Duration = Duration::from_millis(100);
/// How often in a row a daemon may answer oddly, as one that is just being killed does.
const ODD_ANSWERS: u32 = 20;

/// What the thread that listens says.
pub(crate) enum Told {
    /// Something happened.
    Event(Box<Event>),
    /// Nothing; said to see whether anybody still listens, and first of all when the question is accepted.
    Nothing,
    /// It cannot go on.
    Broken(Problem),
}

/// What is followed, and how far it was heard.
pub(crate) struct Follower {
    session: Session,
    names: Vec<String>,
    since: Option<String>,
    by: Option<String>,
    last: Option<u64>,
    accepted: bool,
}

/// Whether somebody listens.
#[derive(PartialEq, Eq)]
enum Ear {
    Open,
    Closed,
}

impl Follower {
    /// Follows these services, or everything; what is new only, without `since`.
    pub(crate) fn new(
        session: Session,
        names: Vec<String>,
        since: Option<String>,
        by: Option<String>,
    ) -> Self {
        Self { session, names, since, by, last: None, accepted: false }
    }

    /// The rows, once it is clear that they can be had.
    pub(crate) fn rows(self, long: bool) -> Result<Rows, LabeledError> {
        let session = self.session.clone();
        let work = move |mouth: &Mouth<Told>| {
            if let Err(problem) = self.run(mouth) {
                mouth.say(Told::Broken(problem));
            }
        };
        // A consumer that has seen enough is heard of only with the next row, which may be long in coming.
        let worker = match session.is_in_foreground() {
            true => Worker::until_prompt(&session.engine, work),
            false => Worker::spawn(&session.engine, work),
        }?;
        match worker.hear(None) {
            Heard::Said(Told::Broken(problem)) => Err(session.error(&problem)),
            Heard::Said(Told::Event(_) | Told::Nothing) => {
                Ok(Rows { worker, session, long, told: false, over: false })
            }
            heard => Err(session.unheard(&heard)),
        }
    }

    fn run(mut self, mouth: &Mouth<Told>) -> Result<(), Problem> {
        let mut odd = 0;
        loop {
            let client = self.session.reach();
            match client.and_then(|client| self.listen(&client, mouth)) {
                Ok(Ear::Closed) => return Ok(()),
                Ok(Ear::Open) => odd = 0,
                Err(problem) if problem.code == Code::DaemonUnreachable => {
                    if !self.accepted && self.read_files(mouth)? == Ear::Closed {
                        return Ok(());
                    }
                }
                Err(problem) if problem.code == Code::Internal && self.accepted && odd < ODD_ANSWERS => {
                    odd += 1;
                }
                Err(problem) => return Err(problem),
            }
            if !mouth.say(Told::Nothing) {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Listens until the daemon ends or nobody wants to hear more.
    fn listen(&mut self, client: &Client, mouth: &Mouth<Told>) -> Result<Ear, Problem> {
        let since = self.last.map(|seq| seq.to_string()).or(self.since.clone()).unwrap_or_default();
        let names = self.names.join(",");
        let by = self.by.clone().unwrap_or_default();
        let query = [("names", names.as_str()), ("since", &since), ("by", &by), ("follow", "true")];
        let lines = client.follow(routes::EVENTS, &query)?;
        self.accepted = true;
        if !mouth.say(Told::Nothing) {
            return Ok(Ear::Closed);
        }
        let mut id = None;
        // A line that breaks off, or that says that we were too slow: on from the last number.
        for line in lines.map_while(Result::ok) {
            match line.split_once(": ") {
                Some(("id", seq)) => id = seq.parse().ok(),
                Some(("data", json)) => {
                    let Ok(event) = serde_json::from_str::<Event>(json) else { break };
                    self.last = Some(event.seq);
                    if !mouth.say(Told::Event(Box::new(event))) {
                        return Ok(Ear::Closed);
                    }
                }
                // The end of an event, or of a word that there is none.
                None if line.is_empty() => {
                    self.last = id.take().or(self.last);
                    if !mouth.say(Told::Nothing) {
                        return Ok(Ear::Closed);
                    }
                }
                _ => {}
            }
        }
        Ok(Ear::Open)
    }

    /// No daemon runs: what is on disk is all there is so far.
    fn read_files(&mut self, mouth: &Mouth<Told>) -> Result<Ear, Problem> {
        let newest: Vec<Event> = self.session.program_says(&["events", "--limit", "1"])?;
        let newest = newest.last().map_or(0, |event| event.seq);
        let mut words = vec!["events"];
        match &self.since {
            Some(since) => words.extend(["--since", since]),
            None => words.extend(["--limit", "0"]),
        }
        words.extend(self.by.iter().flat_map(|by| ["--by", by]));
        words.extend(self.names.iter().map(String::as_str));
        let events: Vec<Event> = self.session.program_says(&words)?;
        (self.last, self.accepted) = (Some(newest), true);
        let words =
            events.into_iter().filter(|event| event.seq <= newest).map(|event| Told::Event(Box::new(event)));
        let heard = std::iter::once(Told::Nothing).chain(words).all(|word| mouth.say(word));
        Ok(if heard { Ear::Open } else { Ear::Closed })
    }
}

/// The rows as they come.
pub(crate) struct Rows {
    worker: Worker<Told>,
    session: Session,
    /// Whether each event tells all.
    long: bool,
    told: bool,
    over: bool,
}

impl Iterator for Rows {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        while !self.over {
            match self.worker.hear(None) {
                Heard::Said(Told::Nothing) | Heard::Late => {}
                Heard::Said(Told::Event(event)) => {
                    self.told = true;
                    let head = self.session.head;
                    return Some(if self.long { Long(*event).row(head) } else { event.row(head) });
                }
                Heard::Said(Told::Broken(problem)) => {
                    self.over = true;
                    let error = ShellError::from(self.session.error(&problem));
                    return Some(Value::error(error, self.session.head));
                }
                // Without an error Nushell would show an empty table.
                heard @ Heard::Interrupted if !self.told => {
                    self.over = true;
                    let error = ShellError::from(self.session.unheard(&heard));
                    return Some(Value::error(error, self.session.head));
                }
                Heard::Over | Heard::Interrupted => self.over = true,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    #[test]
    fn a_problem_in_the_stream_is_not_taken_for_an_event() {
        let farewell = r#"{"success":false,"data":null,"error":{"code":"too_slow","message":"too slow"}}"#;
        assert!(serde_json::from_str::<Event>(farewell).is_err());
        assert_eq!(decode::<Event>(farewell.as_bytes()).unwrap_err().code, Code::TooSlow);
    }
}
