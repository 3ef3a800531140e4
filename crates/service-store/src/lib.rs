//! The daemon's files in the state directory of a project.
//!
//! [`Store`] holds goals and states, [`run_definition`] the definition of each run, and [`journal`] events and results
//! of checks. No module starts a process or opens a socket.

pub mod journal;
pub mod run_definition;
pub mod state_file;

pub use state_file::{Store, were_up};
