//! The journal: what happened to the services, numbered, on disk and live. [`Journal`] writes it, [`Backlog`] reads it, and a
//! [`Subscription`] goes on with what happens now.

mod checks;
mod cursor;
mod history;
pub(crate) mod offline;
mod reader;
mod record;
mod segment;
mod starts;
mod subscription;
mod tracker;
mod writer;

pub(crate) use cursor::{Events, RowCursor, Starts, pieces_of_starts};
pub(crate) use history::History;
pub(crate) use reader::{EventQuery, Since};
pub(crate) use record::{EventRecord, LiveMessage};
pub(crate) use subscription::Subscription;
pub(crate) use tracker::ObservedState;
pub(crate) use writer::Journal;
