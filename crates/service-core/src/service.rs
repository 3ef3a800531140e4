//! One service: its [`State`], its [`Event`]s, and the resulting [`Effect`]s.

mod event;
mod machine;
mod persisted;
mod request_origin;
pub mod restart;
mod state;

pub use event::{Discovered, Effect, Event, Exit, Presence, signal_name};
pub use machine::Machine;
pub use persisted::{PersistedState, StartedBy};
pub use request_origin::{LOST, RequestOrigin, Requester};
pub use state::{Cause, Failure, Goal, State};
