//! Stories and laws of the core, told in a pretend world by moving its clock.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod changes;
mod elsewhere;
mod laws;
mod outlook;
mod stories;
mod waiting;
mod world;
