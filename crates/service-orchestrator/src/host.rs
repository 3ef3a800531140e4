//! What every part of the daemon needs of the machine: clocks, files, `/proc`, descriptors, environments and users. Nothing here
//! knows of the fleet.

pub(crate) mod acceptance;
pub(crate) mod blocking;
pub(crate) mod ca_file;
pub(crate) mod clock;
pub(crate) mod credentials;
pub(crate) mod descriptors;
pub(crate) mod disk;
pub(crate) mod env_file;
pub(crate) mod environment;
pub(crate) mod fs;
pub(crate) mod local_address;
pub(crate) mod memory;
pub(crate) mod paths;
pub(crate) mod procfs;
pub(crate) mod report;
pub(crate) mod single_flight;
pub(crate) mod text;
pub(crate) mod time_slice;
