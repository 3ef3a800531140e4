//! Files of the daemon in the state directory of a project.
//!
//! [`Store`] has goals and states, [`run_definition`] has the definition of each run, and [`journal`] has events and results of
//! checks. No module here starts a process or opens a socket.

pub mod journal;
pub mod run_definition;
pub mod state_file;

pub use state_file::{Store, were_up};
