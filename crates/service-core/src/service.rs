//! One service: where it is ([`State`]), what happens to it ([`Event`]), what to do about it ([`Effect`]).

mod asked;
pub mod backoff;
mod event;
mod machine;
mod memory;
mod state;

pub use asked::{Asked, Asker, LOST};
pub use event::{Effect, Event, Exit, Found, Presence, signal_name};
pub use machine::Machine;
pub use memory::{Memory, Starter};
pub use state::{Cause, Failure, Goal, State};
