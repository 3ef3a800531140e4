//! [`Bounds`]: puts a service under its limits between fork and exec, so that there is no moment at which it has none.
//!
//! Only the service enters the cgroup. The shim stays where it is: a limit never ends the keeper.

use nix::sys::resource::{Resource, setrlimit};
use service_shim::protocol::Limits;
use std::fs::File;
use std::io::{self, Write};

/// What is to be entered; all that can be opened before the fork is open.
pub(crate) struct Bounds {
    /// `cgroup.procs` of the cgroup.
    cgroup: Option<File>,
    address_space: Option<u64>,
}

impl Bounds {
    pub(crate) fn of(limits: &Limits) -> io::Result<Self> {
        let open =
            |cgroup: &std::path::PathBuf| File::options().write(true).open(cgroup.join("cgroup.procs"));
        Ok(Self {
            cgroup: limits.cgroup.as_ref().map(open).transpose()?,
            address_space: limits.address_space,
        })
    }

    /// To be called in the child, and before it becomes somebody who may not do this.
    pub(crate) fn enter(&self) -> io::Result<()> {
        if let Some(mut procs) = self.cgroup.as_ref() {
            // 0 is whoever writes.
            procs.write_all(b"0")?;
        }
        if let Some(bytes) = self.address_space {
            setrlimit(Resource::RLIMIT_AS, bytes, bytes)?;
        }
        Ok(())
    }
}
