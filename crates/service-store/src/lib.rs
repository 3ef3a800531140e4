//! The daemon's files in the state directory of a project.
//!
//! [`Store`] has goals and states, [`RunDefinitions`] has the definition of each run, and [`journal`] has events and
//! results of checks. No module here starts a process or opens a socket.

pub mod applied_names;
pub mod fingerprint;
pub mod journal;
pub mod run_definitions;
pub mod state_file;

pub use run_definitions::{BegunRun, RunDefinitions};
pub use state_file::{Store, were_up};
