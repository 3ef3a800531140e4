//! Checks of endpoints (`http`, `https`, `tcp`, `unix`, `dns` and `exec`), listeners of ports, and log patterns for
//! readiness.

mod check;
mod connect;
mod dns;
mod endpoint_url;
mod error;
mod holder;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_error;
pub mod legacy_log_pattern;
mod listener_table;
mod names;
mod port_owner;
mod port_watcher;
mod sock_diag;
mod socket;
#[cfg(feature = "http")]
mod tls;

pub use check::{Prober, foreign_listener};
pub use dns::describe_answer as describe_dns_answer;
pub use holder::Holder;
