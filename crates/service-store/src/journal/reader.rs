//! Reading events: the readable part of a file ([`Pages`]), selected events ([`EventQuery`]), and past events from a
//! reader's position on ([`Backlog`]).

use super::line_reader::LineReader;
use super::record::{EventRecord, VERSION, unreadable};
use super::segment::{SegmentPart, SegmentSnapshot};
use super::tracker::StateTracker;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use service_api::command::MAX_SAFE_INTEGER;
use service_api::redact::brief;
use service_api::{Code, Event, Problem};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;

/// The first line of a file.
#[derive(Debug, Deserialize)]
struct SegmentHeader {
    journal: u32,
    /// The last assigned number at a time when this file could not be written.
    given: String,
    /// The states of all services at the start of this file.
    #[serde(default)]
    seen: BTreeMap<String, StateTracker>,
}

/// The field of a line that is needed even if the rest cannot be parsed.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

/// The result of reading both files from their beginning.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// The highest assigned number.
    pub(super) highest: u64,
    /// The last states of all services.
    pub(super) seen: BTreeMap<String, StateTracker>,
    /// The last state of the daemon.
    pub(super) daemon: Option<String>,
    /// The boot of that state.
    pub(super) boot_id: Option<String>,
    /// The number of lines that could not be parsed.
    pub(super) broken: usize,
    /// Whether the current file has another format version, so that nothing may be appended.
    pub(super) is_foreign_version: bool,
}

impl Pages {
    pub(super) fn read(texts: &[Vec<u8>; 2]) -> Self {
        let mut pages = Self::default();
        for text in texts {
            pages.is_foreign_version = !text.is_empty() && !is_ours(text);
            for line in lines(text) {
                pages.apply_line(line);
            }
        }
        pages
    }

    fn apply_line(&mut self, line: &[u8]) {
        if let Ok(head) = serde_json::from_slice::<SegmentHeader>(line) {
            self.highest = self.highest.max(head.given.parse().unwrap_or(0));
            if head.journal == VERSION {
                self.seen = head.seen;
            }
            return;
        }
        match serde_json::from_slice::<Event>(line) {
            Ok(event) => {
                self.highest = self.highest.max(event.seq);
                if event.service.is_none() && event.event == service_api::event::kind::DAEMON {
                    self.daemon = event.to;
                    self.boot_id = event.boot_id.or(self.boot_id.take());
                } else {
                    StateTracker::replay(&mut self.seen, event);
                }
            }
            Err(_) => {
                self.broken += 1;
                let numbered = serde_json::from_slice::<Numbered>(line);
                self.highest = self.highest.max(numbered.map_or(0, |line| line.seq));
            }
        }
    }
}

/// Whether a file has this format version. A file without a header is assumed to have this version.
fn is_ours(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Versioned {
        journal: u32,
    }
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<Versioned>(first).map_or(true, |head| head.journal == VERSION)
}

pub(super) fn lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The values in the lines of two consecutive texts, each with the offset after its line.
fn placed<T: DeserializeOwned>(texts: &[Vec<u8>; 2]) -> impl DoubleEndedIterator<Item = (usize, T)> {
    let [old, current] = texts;
    [(old, 0), (current, old.len())].into_iter().flat_map(|(text, start)| {
        lines(text).filter_map(move |line| {
            let after = line.as_ptr().addr() - text.as_ptr().addr() + line.len() + 1;
            Some((start + after, serde_json::from_slice(line).ok()?))
        })
    })
}

/// The start of the selected events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The events after this number.
    After(u64),
    /// The events from this time on.
    Time(Timestamp),
}

impl std::str::FromStr for Since {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if let Some(seq) = text.parse().ok().filter(|seq| *seq <= MAX_SAFE_INTEGER) {
            return Ok(Self::After(seq));
        }
        text.parse().map(Self::Time).map_err(|_| {
            Problem::new(
                Code::BadRequest,
                format!("`since` is neither a number nor a time: `{}`", brief(text)),
            )
            .help("write it as 17, the number of an event, or as 2026-01-02T03:04:05Z")
        })
    }
}

/// Selected events.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// The services; if empty, all services and the daemon.
    pub names: Vec<String>,
    /// The number or the time before which events are left out.
    pub since: Option<Since>,
    /// The kind of the actor, or a part of its description; `None` for any actor.
    pub by: Option<String>,
    /// The maximum number of events: the first ones with `since`, else the last ones.
    pub limit: Option<usize>,
}

impl EventQuery {
    /// Whether this event matches, without regard to numbers and times.
    pub fn matches(&self, event: &Event) -> bool {
        self.is_about(event.service.as_deref()) && self.by.as_ref().is_none_or(|by| event.is_by(by))
    }

    /// Whether an event is about one of the services.
    pub fn is_about(&self, service: Option<&str>) -> bool {
        self.names.is_empty() || service.is_some_and(|service| self.names.iter().any(|name| name == service))
    }
}

/// The position of a reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventPosition {
    /// The offset in the files, as if concatenated.
    pub(super) from: usize,
    /// The number of the last event before the position.
    pub(super) delivered: Option<u64>,
    /// The number of events still to deliver.
    pub(super) remaining: usize,
}

/// Reads past events. Must be used on a thread that may wait for the disk.
#[derive(Clone)]
pub struct Backlog {
    segments: SegmentSnapshot,
    unwritten: Vec<Arc<EventRecord>>,
    last: u64,
}

impl Backlog {
    /// Reads the files, and the events that are not yet written, up to the last assigned number.
    pub(super) fn new(segments: SegmentSnapshot, unwritten: Vec<Arc<EventRecord>>, last: u64) -> Self {
        Self { segments, unwritten, last }
    }

    /// Reads the files alone.
    pub(super) fn from_files(segments: SegmentSnapshot) -> Self {
        Self { segments, unwritten: Vec::new(), last: u64::MAX }
    }

    /// The selected events, in order.
    ///
    /// # Errors
    /// [`Code::Gap`] if events after the given number have expired.
    pub fn find(&self, query: &EventQuery) -> Result<Vec<Event>, Problem> {
        let mut found = Vec::new();
        self.advance(query, &mut self.find_position(query)?, &mut |event| {
            found.push(event);
            Continue(())
        })?;
        Ok(found)
    }

    /// Whether an event is about this service.
    pub fn mentions(&self, name: &str) -> Result<bool, Problem> {
        let (mut delivered, query) =
            (false, EventQuery { names: vec![name.to_owned()], ..EventQuery::default() });
        self.advance(&query, &mut self.find_position(&query)?, &mut |_| {
            delivered = true;
            Break(())
        })?;
        Ok(delivered)
    }

    /// The position of the first selected event.
    ///
    /// # Errors
    /// The errors of [`Backlog::find`].
    pub(super) fn find_position(&self, query: &EventQuery) -> Result<EventPosition, Problem> {
        let mut position =
            EventPosition { from: 0, delivered: None, remaining: query.limit.unwrap_or(usize::MAX) };
        let segments = self.readable_segments()?;
        let texts = segments.read().map_err(|error| unreadable(&error))?;
        if let Some(Since::After(seq)) = query.since {
            let oldest =
                self.events_from(&segments, position, &Cell::new(None)).next().map(|(_, event)| event.seq);
            self.refuse_gap(seq, oldest)?;
            position.delivered = Some(seq);
        } else if let (None, Some(most)) = (query.since, query.limit) {
            let unwritten = self.unwritten.iter().rev().map(|recorded| (usize::MAX, recorded.event.clone()));
            let mut back = unwritten
                .chain(placed(&texts).rev())
                .filter(|(_, event): &(_, Event)| event.seq <= self.last)
                .filter(|(_, event)| query.matches(event))
                .skip(most);
            // The next event backwards is the last one before the selection.
            position.delivered = back.next().map(|(_, event)| event.seq);
        }
        // Numbers ascend, so the events before the first selected one can be skipped.
        if let Some(delivered) = position.delivered {
            let before = placed::<Event>(&texts).rev().find(|(_, event)| event.seq <= delivered);
            position.from = before.map_or(0, |(after, _)| after);
        }
        Ok(position)
    }

    /// Delivers events until `deliver` breaks. Returns whether further events may exist.
    pub(super) fn advance(
        &self,
        query: &EventQuery,
        position: &mut EventPosition,
        deliver: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<bool, Problem> {
        let (segments, failed) = (self.readable_segments()?, Cell::new(None));
        for (after, event) in self.events_from(&segments, *position, &failed) {
            if position.remaining == 0 {
                break;
            }
            position.advance_past(after, &event);
            if query.matches(&event) && is_since(&event.time, query.since) {
                position.remaining -= 1;
                if deliver(event).is_break() {
                    return Ok(true);
                }
            }
        }
        failed.take().map_or(Ok(false), |error| Err(unreadable(&error)))
    }

    /// The events from a position on, each with the offset after it. `segments` come from
    /// [`Backlog::readable_segments`].
    pub(super) fn events_from<'a>(
        &'a self,
        segments: &'a SegmentSnapshot,
        position: EventPosition,
        failed: &'a Cell<Option<io::Error>>,
    ) -> impl Iterator<Item = (usize, Event)> + 'a {
        let end = segments.parts().map(SegmentPart::len).iter().sum();
        let unwritten = self.unwritten.iter().map(move |recorded| (end, recorded.event.clone()));
        LineReader::new(segments, position.from, failed).chain(unwritten).filter(
            move |(_, event): &(_, Event)| {
                event.seq <= self.last && position.delivered.is_none_or(|delivered| event.seq > delivered)
            },
        )
    }

    /// The files that have this format version.
    pub(super) fn readable_segments(&self) -> Result<SegmentSnapshot, Problem> {
        self.segments.clone().retain(is_ours).map_err(|error| unreadable(&error))
    }

    fn refuse_gap(&self, seq: u64, oldest: Option<u64>) -> Result<(), Problem> {
        match oldest {
            Some(oldest) if seq.saturating_add(1) < oldest => {
                let message = format!("some events after {seq} were deleted; the oldest is {oldest}");
                Err(Problem::new(Code::Gap, message)
                    .help(format!("use `since` {} for all events", oldest - 1)))
            }
            _ if self.last != u64::MAX && seq > self.last => {
                let message = format!("there is no event {seq} yet; the newest is {}", self.last);
                Err(Problem::new(Code::Gap, message).help("use a `since` up to that, or none"))
            }
            _ => Ok(()),
        }
    }
}

impl EventPosition {
    /// Advances past an event.
    pub(super) fn advance_past(&mut self, after: usize, event: &Event) {
        (self.from, self.delivered) = (after, Some(event.seq));
    }
}

/// Whether a recorded time is at or after `since`.
pub(super) fn is_since(time: &str, since: Option<Since>) -> bool {
    match since {
        Some(Since::Time(since)) => time.parse::<Timestamp>().is_ok_and(|time| time >= since),
        Some(Since::After(_)) | None => true,
    }
}
