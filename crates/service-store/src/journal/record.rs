//! [`EventRecord`]: an event with its line; and definitions that all parts of the journal share.

use service_api::{Event, Problem};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format version of the file.
pub(super) const VERSION: u32 = 1;
/// The maximum length of a reason.
pub(super) const MAX_REASON_BYTES: usize = 1024;

/// An event with its line in the file.
#[derive(Debug)]
pub struct EventRecord {
    /// The event.
    pub event: Event,
    /// The line of the journal.
    pub json: String,
}

/// A live message to followers.
#[derive(Debug, Clone)]
pub enum LiveMessage {
    /// A new event.
    Event(Arc<EventRecord>),
    /// A heartbeat: there was no event after this number.
    Heartbeat(u64),
}

impl EventRecord {
    pub(super) fn new(event: Event) -> Option<Arc<Self>> {
        match serde_json::to_string(&event) {
            Ok(json) => Some(Arc::new(Self { event, json })),
            Err(error) => {
                tracing::error!(%error, "cannot write an event");
                None
            }
        }
    }
}

pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("journal.jsonl")
}

pub(super) fn checks_path(state_dir: &Path) -> PathBuf {
    state_dir.join("checks.jsonl")
}

/// Truncates the text of another program.
pub(super) fn shorten(mut text: String) -> String {
    if text.len() > MAX_REASON_BYTES {
        text.truncate(text.floor_char_boundary(MAX_REASON_BYTES));
        text.push('…');
    }
    text
}

pub(super) fn unreadable(error: &io::Error) -> Problem {
    Problem::from_io(error, format!("cannot read the journal: {error}"))
}
