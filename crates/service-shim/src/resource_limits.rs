//! [`ResourceLimits`]: applies the limits of a service between fork and exec, so that the service never runs without
//! them.
//!
//! Only the service enters the cgroup. The limits do not apply to the shim.

use nix::sys::resource::{Resource, setrlimit};
use service_shim::protocol::RunLimits;
use std::fs::File;
use std::io::{self, Write};

/// The limits to apply. Every file that can be opened before the fork is open.
pub(crate) struct ResourceLimits {
    /// `cgroup.procs` of the cgroup.
    cgroup: Option<File>,
    address_space: Option<u64>,
}

impl ResourceLimits {
    pub(crate) fn open(limits: &RunLimits) -> io::Result<Self> {
        let open =
            |cgroup: &std::path::PathBuf| File::options().write(true).open(cgroup.join("cgroup.procs"));
        Ok(Self {
            cgroup: limits.cgroup.as_ref().map(open).transpose()?,
            address_space: limits.address_space,
        })
    }

    /// Must be called in the child, before it drops its privileges.
    pub(crate) fn enter(&self) -> io::Result<()> {
        if let Some(mut procs) = self.cgroup.as_ref() {
            // 0 means the process that writes.
            procs.write_all(b"0")?;
        }
        if let Some(bytes) = self.address_space {
            setrlimit(Resource::RLIMIT_AS, bytes, bytes)?;
        }
        Ok(())
    }
}
