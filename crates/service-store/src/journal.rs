//! The journal: numbered events of the services, on disk and live. [`Journal`] writes it, [`Backlog`] reads it, and a
//! [`Subscription`] continues with live events.

mod checks;
mod cursor;
mod history;
mod line_reader;
pub mod offline;
mod reader;
mod record;
mod segment;
mod starts;
mod subscription;
mod tracker;
mod writer;

pub use cursor::{Events, RowCursor, Starts, StartsPermit, StartsReaders, pieces_of_starts};
pub use history::History;
pub use reader::{Backlog, EventQuery, Since};
pub use record::{EventRecord, LiveMessage};
pub use subscription::Subscription;
pub use tracker::ObservedState;
pub use writer::Journal;
