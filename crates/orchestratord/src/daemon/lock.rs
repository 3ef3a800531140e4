//! The lock of a state directory: the process that holds it is the daemon of the project.
//!
//! There are two locks. The lock file works across network namespaces, but it can be deleted and created again, alone
//! or with the directory. A name in the abstract namespace of Unix sockets is therefore bound as well. This name cannot
//! be deleted, and the kernel releases it when its holder ends. If another user has bound the name, only the file
//! counts.

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket};
use nix::unistd::geteuid;
use service_api::project::{LOCK, fnv1a};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The delay after a failed `accept`.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Both locks. Dropping this releases them.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
    name: Option<UnixListener>,
}

/// The result of an attempt to acquire the lock.
#[derive(Debug)]
pub(crate) enum Claim {
    Acquired(Lock),
    /// Another process holds a lock; its pid, if known.
    HeldBy(Option<i32>),
}

impl Claim {
    pub(crate) fn acquired(self) -> Option<Lock> {
        match self {
            Self::Acquired(lock) => Some(lock),
            Self::HeldBy(_) => None,
        }
    }
}

/// Acquires both locks, unless another process holds one. The kernel releases them when their holder ends.
pub(crate) fn try_lock(state_dir: &Path) -> io::Result<Claim> {
    let path = state_dir.join(LOCK);
    let name = match bind_name(state_dir)? {
        NameClaim::Bound(name) => Some(name),
        NameClaim::HeldBy(pid) => return Ok(Claim::HeldBy(Some(pid))),
        NameClaim::Unavailable => None,
    };
    Ok(match lock_file(&path)? {
        Some(file) => Claim::Acquired(Lock { path, file, name }),
        None => {
            let holder = std::fs::read_to_string(&path).ok();
            Claim::HeldBy(holder.and_then(|holder| holder.trim().parse().ok()))
        }
    })
}

/// Whether the lock file exists.
pub(super) fn has_file(state_dir: &Path) -> bool {
    state_dir.join(LOCK).exists()
}

fn lock_file(path: &Path) -> io::Result<Option<File>> {
    let mut file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            let named = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            if let Err(error) = named {
                // The lock is held even if the pid cannot be written.
                tracing::warn!(%error, "cannot write the pid into the lock file");
            }
            Ok(Some(file))
        }
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// The state of the abstract name.
enum NameClaim {
    Bound(UnixListener),
    HeldBy(i32),
    /// The name cannot be bound, or another user holds it.
    Unavailable,
}

fn bind_name(state_dir: &Path) -> io::Result<NameClaim> {
    let path = state_dir.canonicalize()?;
    let name =
        format!("service-orchestrator/{}/{:016x}", geteuid(), fnv1a(path.as_os_str().as_encoded_bytes()));
    match UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?) {
        Ok(listener) => {
            listener.set_nonblocking(true)?;
            Ok(NameClaim::Bound(listener))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(match name_holder(&name) {
            Ok(Some(pid)) => NameClaim::HeldBy(pid),
            Ok(None) => {
                tracing::warn!(name, "another user has bound the name of this daemon");
                NameClaim::Unavailable
            }
            Err(error) => {
                tracing::warn!(name, %error, "cannot tell which process has bound the name of this daemon");
                NameClaim::Unavailable
            }
        }),
        Err(error) => {
            tracing::warn!(name, %error, "cannot bind the name of this daemon");
            Ok(NameClaim::Unavailable)
        }
    }
}

/// The process that has bound a name; `None` for a process of another user.
fn name_holder(name: &str) -> nix::Result<Option<i32>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // The connection is non-blocking, because a stopped process does not accept it.
    connect(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
    let peer = getsockopt(&socket, PeerCredentials)?;
    let is_trusted = peer.uid() == 0 || peer.uid() == geteuid().as_raw();
    Ok(is_trusted.then_some(peer.pid()))
}

impl Lock {
    /// Accepts and closes the connections of processes that look for the holder of the name. Never returns.
    pub(super) fn accept_probes(&self) -> impl Future<Output = ()> + Send + 'static {
        let name =
            self.name.as_ref().map(|name| name.try_clone().and_then(tokio::net::UnixListener::from_std));
        async move {
            let Some(Ok(name)) = name else { return std::future::pending().await };
            loop {
                if name.accept().await.is_err() {
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Locks the file again if it was deleted or replaced.
    pub(super) fn relock_file(&mut self) {
        let is_same = |there: std::fs::Metadata| {
            self.file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        if std::fs::metadata(&self.path).is_ok_and(is_same) {
            return;
        }
        match lock_file(&self.path) {
            Ok(Some(file)) => self.file = file,
            Ok(None) => {
                tracing::error!(path = %self.path.display(), "another process holds the lock file of this daemon");
            }
            Err(error) => tracing::warn!(%error, "cannot lock the file again, which was deleted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_deleted_of_it_a_lock_is_held_once() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        std::fs::create_dir(&state_dir).unwrap();
        let mut first = try_lock(&state_dir).unwrap().acquired().unwrap();
        let me = std::process::id().cast_signed();
        let is_held = || matches!(try_lock(&state_dir).unwrap(), Claim::HeldBy(Some(pid)) if pid == me);
        assert!(is_held());
        std::fs::remove_file(state_dir.join(LOCK)).unwrap();
        assert!(is_held());
        assert!(!has_file(&state_dir));
        std::fs::remove_dir_all(&state_dir).unwrap();
        std::fs::create_dir(&state_dir).unwrap();
        assert!(is_held());
        first.relock_file();
        assert!(has_file(&state_dir));
        first.name = None;
        assert!(is_held(), "the lock file alone suffices");
        drop(first);
        assert!(try_lock(&state_dir).unwrap().acquired().is_some());
    }
}
