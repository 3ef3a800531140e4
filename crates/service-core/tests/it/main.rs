//! Stories and invariants of the core, in a simulated world with a movable clock.

#![allow(clippy::unwrap_used, reason = "a test without its preconditions should end")]

mod changes;
mod elsewhere;
mod laws;
mod outlook;
mod stories;
mod waiting;
mod world;
