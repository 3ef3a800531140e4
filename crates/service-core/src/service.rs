//! One service: where it is ([`State`]), what happens to it ([`Event`]), what to do about it ([`Effect`]).

mod asked;
pub mod backoff;
mod event;
mod machine;
mod persisted;
mod state;

pub use asked::{Asked, Asker, LOST};
pub use event::{Discovered, Effect, Event, Exit, Presence, signal_name};
pub use machine::Machine;
pub use persisted::{PersistedState, StartedBy};
pub use state::{Cause, Failure, Goal, State};
