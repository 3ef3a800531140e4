//! Converts rows, errors and progress for Nushell, and reads the environment and the project of the calling shell.
//!
//! The commands are in `nu_plugin_service`, and the connections in `service-client`.

pub mod error;
pub mod interruptible;
pub mod progress;
pub mod project;
pub mod remote;
pub mod shell;
pub mod since;
pub mod table;
pub mod value_conversion;
