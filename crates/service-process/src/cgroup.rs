//! Cgroups (version 2) of runs with limits: finding their parent, and creating, reading and removing them.
//!
//! A cgroup that delegates controllers to its children must not have processes of its own ("no internal processes",
//! cgroups(7)). If the daemon shares its cgroup with other processes, as in a systemd scope or a container, all of them
//! move into a leaf beside the runs. This is done only in a delegated cgroup: systemd marks it (`Delegate=yes`);
//! without systemd, write permission decides.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use thiserror::Error;

/// The leaf cgroup for all processes other than the runs.
pub const LEAF: &str = "service-orchestrator.leaf";
/// The parent of runs on a machine without systemd.
const RUNS_PARENT: &str = "service-orchestrator";
/// The period of `cpu.max` in microseconds; systemd and Docker use the same.
const CPU_PERIOD_US: f64 = 100_000.0;
/// Processes can be started while others are moved. After this many rounds the move fails.
const MAX_ROUNDS: u32 = 20;

/// Why no cgroup enforces the limits of a run.
#[derive(Debug, Error)]
pub(super) enum CgroupError {
    #[error("there is no cgroup v2 here")]
    NoCgroup,
    #[error("cgroup v2 is not mounted here, or its mount does not show the daemon's own cgroup")]
    NotMounted,
    #[error("cgroup `{cgroup}`, in which the daemon runs, is not delegated to it")]
    NotDelegated { cgroup: String },
    #[error("cgroup `{}` cannot be created: {error}", directory.display())]
    Create { directory: PathBuf, error: io::Error },
    #[error("cgroup v2 at `{}` does not have the `{controller}` controller", directory.display())]
    NoController { directory: PathBuf, controller: &'static str },
    #[error("cgroup `{}` cannot delegate the `{controller}` controller: {error}", directory.display())]
    Delegate { directory: PathBuf, controller: &'static str, error: io::Error },
    /// The file of the run's limits cannot be written.
    #[error("`{}` cannot be written: {error}", file.display())]
    Write { file: PathBuf, error: io::Error },
}

/// The process whose cgroup is examined, and its environment. Tests use another process.
pub(super) struct Hierarchy {
    /// `/proc/self`.
    pub(super) process: PathBuf,
    /// Whether systemd runs this machine.
    pub(super) systemd: bool,
    /// Whether systemd has delegated the cgroup of this directory.
    pub(super) delegated: fn(&Path) -> bool,
}

impl Hierarchy {
    pub(super) fn own() -> Self {
        let systemd = Path::new("/run/systemd/system").is_dir();
        Self { process: "/proc/self".into(), systemd, delegated: is_delegated }
    }
}

/// The parent of the runs' cgroups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RunsParent {
    /// The directory of this cgroup.
    directory: PathBuf,
    /// The cgroup root, if the runs' parent is its direct child. The root may have processes and delegate controllers.
    root: Option<PathBuf>,
}

impl RunsParent {
    /// Finds the parent without changing a cgroup.
    pub(super) fn find(hierarchy: &Hierarchy) -> Result<Self, CgroupError> {
        let read = |name: &str| fs::read_to_string(hierarchy.process.join(name)).unwrap_or_default();
        let (own, mounts) = (read("cgroup"), read("mountinfo"));
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or(CgroupError::NoCgroup)?;
        let (mount, directory) =
            mounts.lines().find_map(|line| mounted(line, Path::new(own))).ok_or(CgroupError::NotMounted)?;
        let parent = directory.parent().filter(|parent| parent.starts_with(&mount));
        if hierarchy.systemd {
            // The runs' parent may be the parent of this cgroup: a former daemon has moved all processes into a leaf,
            // or systemd has started the daemon in one.
            return match std::iter::once(&*directory).chain(parent).find(|place| (hierarchy.delegated)(place))
            {
                Some(place) => Ok(Self { directory: place.to_path_buf(), root: None }),
                None => Err(CgroupError::NotDelegated { cgroup: own.to_owned() }),
            };
        }
        if !mount.join("cgroup.events").exists() {
            return Ok(Self { directory: mount.join(RUNS_PARENT), root: Some(mount) });
        }
        let in_leaf = directory.file_name().is_some_and(|name| name == LEAF);
        let directory = parent.filter(|_| in_leaf).map_or(directory.clone(), Path::to_path_buf);
        Ok(Self { directory, root: None })
    }

    /// Makes a controller available to the cgroups of runs.
    pub(super) fn enable(&self, controller: &'static str) -> Result<(), CgroupError> {
        if let Some(root) = &self.root {
            delegate(root, controller, || Ok(()))?;
            match fs::create_dir(&self.directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(CgroupError::Create { directory: self.directory.clone(), error });
                }
                _ => {}
            }
        }
        delegate(&self.directory, controller, || self.clear())
    }

    /// Moves the processes of this cgroup into a leaf.
    fn clear(&self) -> io::Result<()> {
        let leaf = self.directory.join(LEAF);
        for _ in 0..MAX_ROUNDS {
            let processes = fs::read_to_string(self.directory.join("cgroup.procs"))?;
            if processes.trim().is_empty() {
                return Ok(());
            }
            if !leaf.is_dir() {
                fs::create_dir(&leaf)?;
            }
            for pid in processes.lines() {
                // The process may have ended meanwhile. The next round finds remaining processes.
                let _ = write(&leaf.join("cgroup.procs"), pid);
            }
        }
        Ok(())
    }

    /// The directory of a run's cgroup.
    pub(super) fn run_directory(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The cgroup of a run, which may have ended.
#[derive(Debug)]
pub(super) struct Cgroup(pub(super) PathBuf);

impl Cgroup {
    /// Creates the cgroup without limits. An existing one belongs to an ended run.
    pub(super) fn make(&self) -> io::Result<()> {
        self.remove()?;
        fs::create_dir(&self.0)
    }

    /// Limits the memory of all processes together. Swap is disabled, because it would only delay the kill and slow
    /// down the machine. If the kernel kills one process, it kills all: a service without some of its processes is
    /// broken.
    pub(super) fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        match write(&self.0.join("memory.swap.max"), "0") {
            // A kernel without swap has no such file.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write(&self.0.join("memory.oom.group"), "1")?;
        write(&self.0.join("memory.max"), &bytes.to_string())
    }

    /// Limits the CPU time of all processes together, in cores.
    pub(super) fn limit_cpu(&self, cores: f64) -> io::Result<()> {
        write(&self.0.join("cpu.max"), &format!("{:.0} {CPU_PERIOD_US:.0}", cores * CPU_PERIOD_US))
    }

    /// Whether the kernel has killed the run at its memory limit.
    pub(super) fn was_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        let kills =
            events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok());
        kills.is_some_and(|kills| kills > 0)
    }

    /// Kills all processes of the cgroup. Has no effect before Linux 5.14.
    pub(super) fn kill(&self) {
        let _ = write(&self.0.join("cgroup.kill"), "1");
    }

    /// Removes the cgroup, with the cgroups that the service has created inside. Fails while the cgroup has processes.
    pub(super) fn remove(&self) -> io::Result<()> {
        fn remove(directory: &Path) -> io::Result<()> {
            for entry in fs::read_dir(directory)?.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&entry.path())?;
                }
            }
            fs::remove_dir(directory)
        }
        match remove(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The mount point of cgroup v2 in a line of `mountinfo`, and this cgroup below it.
fn mounted(line: &str, cgroup: &Path) -> Option<(PathBuf, PathBuf)> {
    let (mount, kind) = line.split_once(" - ")?;
    kind.starts_with("cgroup2 ").then_some(())?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let within = cgroup.strip_prefix(root).ok()?;
    // In a namespace, a path to the outside begins with `..`.
    within.components().all(|part| matches!(part, Component::Normal(_))).then_some(())?;
    // `mountinfo` writes spaces as octal escapes. A mount point of cgroups has none.
    let point = PathBuf::from(point);
    let directory = if within.as_os_str().is_empty() { point.clone() } else { point.join(within) };
    Some((point, directory))
}

/// Delegates a controller to the children of a cgroup. `clear` moves away processes that prevent this.
fn delegate(
    directory: &Path,
    controller: &'static str,
    clear: impl FnOnce() -> io::Result<()>,
) -> Result<(), CgroupError> {
    let has = |file: &str| {
        let words = fs::read_to_string(directory.join(file)).unwrap_or_default();
        words.split_ascii_whitespace().any(|word| word == controller)
    };
    let named = || directory.to_path_buf();
    if has("cgroup.subtree_control") {
        return Ok(());
    }
    if !has("cgroup.controllers") {
        return Err(CgroupError::NoController { directory: named(), controller });
    }
    clear()
        .and_then(|()| write(&directory.join("cgroup.subtree_control"), &format!("+{controller}")))
        .map_err(|error| CgroupError::Delegate { directory: named(), controller, error })
}

/// Writes to a file of the kernel, in one write.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    fs::File::options().write(true).open(path)?.write_all(text.as_bytes())
}

/// Whether systemd has marked the cgroup as delegated. Every user may read this attribute; before systemd 249, only
/// root.
fn is_delegated(directory: &Path) -> bool {
    let read = |name| attribute(directory, name).is_some_and(|value| value == b'1');
    read(c"user.delegate") || read(c"trusted.delegate")
}

/// An extended attribute of one byte.
#[expect(unsafe_code, reason = "nix does not know extended attributes")]
fn attribute(path: &Path, name: &std::ffi::CStr) -> Option<u8> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut value = 0_u8;
    // SAFETY: both strings end with NUL, and the kernel writes at most the one byte of the buffer.
    let length = unsafe {
        nix::libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::from_mut(&mut value).cast(), 1)
    };
    (length == 1).then_some(value)
}

#[cfg(test)]
mod tests;
