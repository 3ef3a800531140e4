//! The messages between `orchestratord` and its clients, and the files by which a client finds a daemon.
//!
//! This crate has only types and opens no connection. Durations are milliseconds (`*_ms`, fractions allowed), sizes are
//! bytes, times are RFC 3339 in UTC. A reader ignores unknown fields, so that a newer daemon can add fields.

pub mod command;
pub mod daemon_health;
pub mod endpoint;
pub mod envelope;
mod environment;
pub mod event;
mod file_names;
pub mod finding;
pub mod ownership;
pub mod printable;
pub mod problem;
pub mod project;
pub mod quote;
pub mod redact;
pub mod routes;
pub mod trust;
pub mod unit;
pub mod view;

pub use command::{Action, ActionRequest, AddRequest, ApplyRequest, Outcome};
pub use daemon_health::DaemonHealth;
pub use envelope::Envelope;
pub use event::Event;
pub use finding::{Finding, Severity};
pub use printable::printable;
pub use problem::{Cell, Code, Problem, SourceLocation};
pub use project::{Project, StartupMessage};
pub use quote::quoted;
pub use redact::redact;
pub use unit::Unit;

/// Version of the API. A daemon and a client with the same version are compatible.
pub const API_VERSION: u32 = 2;
