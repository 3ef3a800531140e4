//! Rows, errors and progress as Nushell shows them, and the environment and the project of the shell that makes a call.
//!
//! Commands are in `nu_plugin_service`, and connections in `service-client`.

pub mod error;
pub mod interruptible;
pub mod progress;
pub mod project;
pub mod remote;
pub mod shell;
pub mod since;
pub mod table;
pub mod value_conversion;
