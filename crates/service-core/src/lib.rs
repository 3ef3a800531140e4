//! The decisions: the meaning of the configuration, the start order, and when a service is ready, healthy, restarted or
//! given up.
//!
//! This crate is pure: `no_std`, without clocks, processes, files and sockets. The input is the time as a [`Moment`],
//! and [`Event`](service::Event)s; the output is [`Effect`](service::Effect)s, and a deadline
//! ([`Fleet::next_deadline`]).
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
pub use name::{InvalidName, Name};
pub use plan::{Id, Plan};
pub use snapshot::Snapshot;
pub use time::Moment;
