//! Reading events: what of a file can be understood ([`Pages`]), which events are asked for ([`Question`]), and where
//! the past meets what happens now ([`View`]).

use super::lines::Shelf;
use super::{Checks, Recorded, Seen, VERSION, Word};
use jiff::Timestamp;
use serde::Deserialize;
use service_api::{Code, Event, Problem};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::sync::broadcast;

/// The first line of a file.
#[derive(Debug, Deserialize)]
struct Head {
    journal: u32,
    /// The last number given when this file could not be written.
    given: String,
    /// How every service was when this file was begun.
    #[serde(default)]
    seen: BTreeMap<String, Seen>,
}

/// What of a line nobody understands is still of use.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

/// What is known once both files have been read from their beginning.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// The highest number that was ever given.
    pub(super) highest: u64,
    /// How every service was at last.
    pub(super) seen: BTreeMap<String, Seen>,
    /// How the daemon was at last.
    pub(super) daemon: Option<String>,
    /// Lines that could not be understood.
    pub(super) broken: usize,
    /// The current file is not of our version, so nothing may be added to it.
    pub(super) stranger: bool,
}

impl Pages {
    pub(super) fn read(texts: &[Vec<u8>; 2]) -> Self {
        let mut pages = Self::default();
        for text in texts {
            pages.stranger = !text.is_empty() && !is_ours(text);
            for line in lines(text) {
                pages.turn(line);
            }
        }
        pages
    }

    fn turn(&mut self, line: &[u8]) {
        if let Ok(head) = serde_json::from_slice::<Head>(line) {
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
                } else {
                    Seen::replay(&mut self.seen, event);
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

/// Whether a file is of our version; one that has lost its head is taken for ours.
fn is_ours(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Versioned {
        journal: u32,
    }
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<Versioned>(first).map_or(true, |head| head.journal == VERSION)
}

fn lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// From where on events are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// After this number.
    After(u64),
    /// From this time on.
    Time(Timestamp),
}

impl std::str::FromStr for Since {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::After(seq));
        }
        text.parse().map(Self::Time).map_err(|_| {
            Problem::new(Code::BadRequest, format!("`since` is neither a number nor a time: `{text}`"))
                .help("write it as 17, the number of an event, or as 2026-01-02T03:04:05Z")
        })
    }
}

/// Which events are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Question {
    /// Of these services; of all, and of the daemon, if none is named.
    pub(crate) names: Vec<String>,
    pub(crate) since: Option<Since>,
    /// At most so many: the first with `since`, else the last.
    pub(crate) limit: Option<usize>,
}

impl Question {
    /// Whether an event is about one of the services.
    pub(crate) fn is_about(&self, service: Option<&str>) -> bool {
        self.names.is_empty() || service.is_some_and(|service| self.names.iter().any(|name| name == service))
    }
}

/// The past as it is in the files, and what comes after it.
pub(crate) struct View {
    pub(super) shelf: Shelf,
    pub(super) checks: Checks,
    /// Events that could not be written yet.
    pub(super) unwritten: Vec<Arc<Recorded>>,
    /// The last number that was given; every later event comes by `live`.
    pub(crate) last: u64,
    pub(crate) live: broadcast::Receiver<Word>,
}

impl View {
    /// The results of health checks.
    pub(crate) fn checks(&self) -> Checks {
        self.checks.clone()
    }

    /// What is kept of the past.
    pub(crate) fn past(&self) -> Past {
        Past { shelf: self.shelf.clone(), unwritten: self.unwritten.clone(), last: self.last }
    }
}

/// Reads events, on a thread that may wait for the disk.
pub(crate) struct Past {
    shelf: Shelf,
    unwritten: Vec<Arc<Recorded>>,
    last: u64,
}

impl Past {
    /// The files alone.
    pub(super) fn of(shelf: Shelf) -> Self {
        Self { shelf, unwritten: Vec::new(), last: u64::MAX }
    }

    /// The events that are asked for, in their order.
    ///
    /// # Errors
    /// [`Code::Gap`] if events after the number that is asked for are not kept any more.
    pub(crate) fn find(&self, question: &Question) -> Result<Vec<Event>, Problem> {
        let texts = self.shelf.read().map_err(|error| unreadable(&error))?;
        let ours: Vec<&[u8]> = texts.iter().map(Vec::as_slice).filter(|text| is_ours(text)).collect();
        let written = || ours.iter().flat_map(|text| lines(text)).filter_map(parse);
        if let Some(Since::After(seq)) = question.since {
            let unwritten = self.unwritten.first().map(|recorded| recorded.event.seq);
            self.refuse_gap(seq, written().next().map(|event| event.seq).or(unwritten))?;
        }
        let most = if question.since.is_none() { question.limit } else { None }.unwrap_or(usize::MAX);
        let unwritten = self.unwritten.iter().rev().map(|recorded| recorded.event.clone());
        let backwards =
            unwritten.chain(ours.iter().rev().flat_map(|text| lines(text).rev()).filter_map(parse));
        let mut found: Vec<Event> = backwards
            .filter(|event| event.seq <= self.last)
            .take_while(|event| !matches!(question.since, Some(Since::After(seq)) if event.seq <= seq))
            .filter(|event| {
                question.is_about(event.service.as_deref()) && is_since(&event.time, question.since)
            })
            .take(most)
            .collect();
        found.reverse();
        found.truncate(question.limit.unwrap_or(usize::MAX));
        Ok(found)
    }

    fn refuse_gap(&self, seq: u64, oldest: Option<u64>) -> Result<(), Problem> {
        match oldest {
            Some(oldest) if seq.saturating_add(1) < oldest => {
                let message =
                    format!("events after {seq} are not all kept any more; the oldest kept is {oldest}");
                Err(Problem::new(Code::Gap, message)
                    .help(format!("ask since {} for all that there is", oldest - 1)))
            }
            _ if self.last != u64::MAX && seq > self.last => {
                let message = format!("there is no event {seq} yet; the newest is {}", self.last);
                Err(Problem::new(Code::Gap, message).help("the journal was begun anew: ask without a number"))
            }
            _ => Ok(()),
        }
    }
}

fn parse(line: &[u8]) -> Option<Event> {
    serde_json::from_slice(line).ok()
}

/// Whether a time, as it is written, is not before what is asked for.
pub(super) fn is_since(time: &str, since: Option<Since>) -> bool {
    match since {
        Some(Since::Time(since)) => time.parse::<Timestamp>().is_ok_and(|time| time >= since),
        Some(Since::After(_)) | None => true,
    }
}

pub(super) fn unreadable(error: &io::Error) -> Problem {
    Problem::new(Code::Internal, format!("cannot read the journal: {error}"))
}
