//! The daemon's side of shims: launching, following and readopting them; and commands of services.

mod begin;
pub mod cgroup;
pub mod command;
mod connection;
mod executable;
mod launch;
pub mod limits;
pub mod liveness;
pub mod lost;
mod nushell;
pub mod orphans;
mod preflight;
mod reach;
mod shim_client;
pub mod shim_program;
mod zygote;

pub use preflight::{Blocker, blockers, unusable_commands};
pub use reach::Reached;
pub use shim_client::{ShimHandle, Shims, query_record};
