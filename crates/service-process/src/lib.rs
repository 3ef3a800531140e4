//! The daemon's side of shims: launching, following and readopting them; and commands of services.

pub mod cgroup;
pub mod command;
mod connection;
mod elf;
mod executable;
mod launch;
mod launch_message;
pub mod limits;
pub mod liveness;
mod nushell;
pub mod orphans;
mod preflight;
pub mod process_group;
mod reconnect;
mod shim_client;
pub mod shim_program;
pub mod shims_without_files;
mod zygote;

pub use preflight::{StartObstacle, blockers, unusable_commands};
pub use reconnect::Reached;
pub use shim_client::{ShimHandle, Shims, query_record};
