//! Decides: the meaning of the configuration, the start order, and when a service is ready, healthy, due or given up.
//!
//! Pure: `no_std`, no clock, no process, no file, no socket. Time comes in as a [`Moment`] and goes out as a deadline
//! ([`Fleet::next_deadline`]); events come in as [`Event`](service::Event)s, and actions go out
//! as [`Effect`](service::Effect)s.
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
