//! The daemon's side of shims: launching one, following it, taking one up again; and commands of services.

mod begin;
pub(crate) mod cgroup;
pub(crate) mod command;
mod connection;
mod executable;
mod launch;
pub(crate) mod limits;
pub(crate) mod liveness;
pub(crate) mod lost;
pub(crate) mod orphans;
mod preflight;
mod reach;
mod shim_client;
pub(crate) mod shim_program;
mod zygote;

pub(crate) use preflight::{Blocker, blockers};
pub(crate) use reach::Reached;
pub(crate) use shim_client::{ShimHandle, Shims, query_record};
