//! Decides: what the configuration means, in which order services start, when one is ready, healthy, due, given up.
//!
//! Pure: `no_std`, no clock, no process, no file, no socket. Time comes in as a [`Moment`] and goes out as a deadline
//! ([`Fleet::next_deadline`]); what happened comes in as an [`Event`](service::Event) and what is to be done goes out
//! as an [`Effect`](service::Effect).
//!
//! ```text
//! Config --Plan::compile--> Plan --Fleet::new--> Fleet <-- requests, events
//!                                                  |-----> effects, deadline, snapshots
//! ```

#![no_std]
extern crate alloc;

pub mod change;
pub mod config;
mod endpoint;
pub mod explain;
pub mod fleet;
pub mod health;
pub mod name;
pub mod plan;
pub mod service;
pub mod snapshot;
pub mod suggest;
pub mod time;

pub use config::Config;
pub use fleet::Fleet;
pub use name::Name;
pub use plan::{Id, Plan};
pub use snapshot::Snapshot;
pub use time::Moment;
