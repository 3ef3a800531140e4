//! Access to the machine: clocks, files, `/proc`, descriptors, environments and users. This crate does not depend on
//! the fleet.

pub mod acceptance;
pub mod blocking;
pub mod ca_file;
pub mod clock;
pub mod credentials;
pub mod descriptors;
pub mod disk;
pub mod env_file;
pub mod environment;
pub mod fs;
pub mod local_address;
pub mod memory;
pub mod paths;
pub mod procfs;
pub mod report;
pub mod run_directory;
pub mod single_flight;
pub mod text;
pub mod time_slice;
