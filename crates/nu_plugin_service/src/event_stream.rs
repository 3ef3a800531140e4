//! [`EventStream`]: events as they happen, across daemon restarts.
//!
//! After a restart, the stream requests the events after the last received number. A heartbeat contains the latest
//! number as well, even if the requested services have no events. Without a daemon there are no new events, so the
//! stream waits for the next daemon and does not start one.

use crate::session::Session;
use nu_protocol::{LabeledError, ShellError, Value};
use service_api::{Code, Event, Problem, routes};
use service_client::client::Client;
use service_nushell::interruptible::{EventSender, Worker, WorkerEvent};
use service_nushell::table::Row;
use service_nushell::table::events::Long;
use std::time::Duration;

/// The delay before a reconnection.
const RECONNECT_DELAY: Duration = Duration::from_millis(100);
/// The maximum number of consecutive errors of a daemon. A daemon that is exiting may return some.
const MAX_ODD_ANSWERS: u32 = 20;

/// A message of the reading thread.
pub(crate) enum Delivered {
    /// An event.
    Event(Box<Event>),
    /// A message without an event, which is sent when the request is accepted, and later to check that the call still
    /// waits.
    Heartbeat,
    /// The stream cannot continue.
    Failed(Problem),
}

/// The request, and the position in the stream.
pub(crate) struct EventStream {
    session: Session,
    names: Vec<String>,
    since: Option<String>,
    by: Option<String>,
    last: Option<u64>,
    accepted: bool,
}

/// Whether the call still waits.
#[derive(PartialEq, Eq)]
enum Receiver {
    Open,
    Closed,
}

impl EventStream {
    /// Requests the events of these services, or of all services; without `since`, only new events.
    pub(crate) fn new(
        session: Session,
        names: Vec<String>,
        since: Option<String>,
        by: Option<String>,
    ) -> Self {
        Self { session, names, since, by, last: None, accepted: false }
    }

    /// Sends the request. Returns the rows once the request is accepted.
    pub(crate) fn rows(self, long: bool) -> Result<EventRows, LabeledError> {
        let session = self.session.clone();
        let work = move |sender: &EventSender<Delivered>| {
            if let Err(problem) = self.run(sender) {
                sender.send(Delivered::Failed(problem));
            }
        };
        // A plugin notices only with its next row that its stream is not read any more, and that row may be late.
        let worker = match session.is_in_foreground() {
            true => Worker::until_prompt(&session.engine, work),
            false => Worker::spawn(&session.engine, work),
        }?;
        match worker.receive(None) {
            WorkerEvent::Item(Delivered::Failed(problem)) => Err(session.error(&problem)),
            WorkerEvent::Item(Delivered::Event(_) | Delivered::Heartbeat) => {
                Ok(EventRows { worker, session, long, any_returned: false, over: false })
            }
            event => Err(session.explain_no_answer(&event)),
        }
    }

    fn run(mut self, sender: &EventSender<Delivered>) -> Result<(), Problem> {
        let mut odd = 0;
        loop {
            let client = self.session.reach();
            match client.and_then(|client| self.forward_events(&client, sender)) {
                Ok(Receiver::Closed) => return Ok(()),
                Ok(Receiver::Open) => odd = 0,
                Err(problem) if problem.code == Code::DaemonUnreachable => {
                    if !self.accepted && self.read_files(sender)? == Receiver::Closed {
                        return Ok(());
                    }
                }
                Err(problem) if problem.code == Code::Internal && self.accepted && odd < MAX_ODD_ANSWERS => {
                    odd += 1;
                }
                Err(problem) => return Err(problem),
            }
            if !sender.send(Delivered::Heartbeat) {
                return Ok(());
            }
            std::thread::sleep(RECONNECT_DELAY);
        }
    }

    /// Forwards events until the daemon ends or the call returns.
    fn forward_events(
        &mut self,
        client: &Client,
        sender: &EventSender<Delivered>,
    ) -> Result<Receiver, Problem> {
        let since = self.last.map(|seq| seq.to_string()).or(self.since.clone()).unwrap_or_default();
        let names = self.names.join(",");
        let by = self.by.clone().unwrap_or_default();
        let query = [("names", names.as_str()), ("since", &since), ("by", &by), ("follow", "true")];
        let lines = client.follow(routes::EVENTS, &query)?;
        self.accepted = true;
        if !sender.send(Delivered::Heartbeat) {
            return Ok(Receiver::Closed);
        }
        let mut id = None;
        // After an incomplete line, or if this client was too slow, the next request continues after the last number.
        for line in lines.map_while(Result::ok) {
            match line.split_once(": ") {
                Some(("id", seq)) => id = seq.parse().ok(),
                Some(("data", json)) => {
                    let Ok(event) = serde_json::from_str::<Event>(json) else { break };
                    self.last = Some(event.seq);
                    if !sender.send(Delivered::Event(Box::new(event))) {
                        return Ok(Receiver::Closed);
                    }
                }
                // An empty line ends an event or a heartbeat.
                None if line.is_empty() => {
                    self.last = id.take().or(self.last);
                    if !sender.send(Delivered::Heartbeat) {
                        return Ok(Receiver::Closed);
                    }
                }
                _ => {}
            }
        }
        Ok(Receiver::Open)
    }

    /// Reads the events on disk, while no daemon runs.
    fn read_files(&mut self, sender: &EventSender<Delivered>) -> Result<Receiver, Problem> {
        let newest: Vec<Event> = self.session.run_program(&["events", "--limit", "1"])?;
        let newest = newest.last().map_or(0, |event| event.seq);
        let mut arguments = vec!["events"];
        match &self.since {
            Some(since) => arguments.extend(["--since", since]),
            None => arguments.extend(["--limit", "0"]),
        }
        arguments.extend(self.by.iter().flat_map(|by| ["--by", by]));
        arguments.extend(self.names.iter().map(String::as_str));
        let events: Vec<Event> = self.session.run_program(&arguments)?;
        (self.last, self.accepted) = (Some(newest), true);
        let delivered = events
            .into_iter()
            .filter(|event| event.seq <= newest)
            .map(|event| Delivered::Event(Box::new(event)));
        let all_sent =
            std::iter::once(Delivered::Heartbeat).chain(delivered).all(|delivered| sender.send(delivered));
        Ok(if all_sent { Receiver::Open } else { Receiver::Closed })
    }
}

/// The rows as they arrive.
pub(crate) struct EventRows {
    worker: Worker<Delivered>,
    session: Session,
    /// Whether rows have all columns.
    long: bool,
    any_returned: bool,
    over: bool,
}

impl Iterator for EventRows {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        while !self.over {
            match self.worker.receive(None) {
                WorkerEvent::Item(Delivered::Heartbeat) | WorkerEvent::TimedOut => {}
                WorkerEvent::Item(Delivered::Event(event)) => {
                    self.any_returned = true;
                    let head = self.session.head;
                    return Some(if self.long { Long(*event).into_row(head) } else { event.into_row(head) });
                }
                WorkerEvent::Item(Delivered::Failed(problem)) => {
                    self.over = true;
                    let error = ShellError::from(self.session.error(&problem));
                    return Some(Value::error(error, self.session.head));
                }
                // If there were no error, Nushell would show an empty table.
                event @ WorkerEvent::Interrupted if !self.any_returned => {
                    self.over = true;
                    let error = ShellError::from(self.session.explain_no_answer(&event));
                    return Some(Value::error(error, self.session.head));
                }
                WorkerEvent::Finished | WorkerEvent::Interrupted => self.over = true,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_client::client::decode;

    #[test]
    fn a_problem_in_the_stream_is_not_taken_for_an_event() {
        let farewell = r#"{"success":false,"data":null,"error":{"code":"too_slow","message":"too slow"}}"#;
        assert!(serde_json::from_str::<Event>(farewell).is_err());
        assert_eq!(decode::<Event>(farewell.as_bytes()).unwrap_err().code, Code::TooSlow);
    }
}
