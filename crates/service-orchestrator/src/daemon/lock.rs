//! The lock of a state directory: who holds it is the daemon of the project.
//!
//! It is two locks. The file in the directory is seen by everybody who can see the directory, also from another network
//! namespace; but it can be deleted, alone or with the directory, and another one be made under its name. So the path is locked,
//! too, by a name in the abstract namespace of Unix sockets: nobody can delete that, and the kernel lets go of it with its
//! holder. Another user can take the name first; that is seen, and then the file alone decides.

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

/// After somebody could not be let in.
const PAUSE: Duration = Duration::from_millis(50);

/// Both locks, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
    name: Option<UnixListener>,
}

/// Whose it is.
#[derive(Debug)]
pub(crate) enum Claim {
    Ours(Lock),
    /// Somebody else's, whose process this is, as far as that is known.
    Theirs(Option<i32>),
}

impl Claim {
    pub(crate) fn ours(self) -> Option<Lock> {
        match self {
            Self::Ours(lock) => Some(lock),
            Self::Theirs(_) => None,
        }
    }
}

/// Takes it, unless another process holds it. The kernel lets go of it when its holder ends, however that happens.
pub(crate) fn lock(state_dir: &Path) -> io::Result<Claim> {
    let path = state_dir.join(LOCK);
    let name = match take_name(state_dir)? {
        Name::Ours(name) => Some(name),
        Name::Theirs(pid) => return Ok(Claim::Theirs(Some(pid))),
        Name::Unusable => None,
    };
    Ok(match lock_file(&path)? {
        Some(file) => Claim::Ours(Lock { path, file, name }),
        None => {
            let holder = std::fs::read_to_string(&path).ok();
            Claim::Theirs(holder.and_then(|holder| holder.trim().parse().ok()))
        }
    })
}

/// Whether the file of the lock is there.
pub(super) fn has_file(state_dir: &Path) -> bool {
    state_dir.join(LOCK).exists()
}

fn lock_file(path: &Path) -> io::Result<Option<File>> {
    let mut file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            let named = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            if let Err(error) = named {
                // It holds all the same.
                tracing::warn!(%error, "cannot write down who holds the lock");
            }
            Ok(Some(file))
        }
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Whose a name is.
enum Name {
    Ours(UnixListener),
    Theirs(i32),
    /// Not to be had here, or of somebody who does not count.
    Unusable,
}

fn take_name(state_dir: &Path) -> io::Result<Name> {
    let path = state_dir.canonicalize()?;
    let name =
        format!("service-orchestrator/{}/{:016x}", geteuid(), fnv1a(path.as_os_str().as_encoded_bytes()));
    match UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?) {
        Ok(listener) => {
            listener.set_nonblocking(true)?;
            Ok(Name::Ours(listener))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(match holder(&name) {
            Ok(Some(pid)) => Name::Theirs(pid),
            Ok(None) => {
                tracing::warn!(name, "another user has the name that this daemon would be known by");
                Name::Unusable
            }
            Err(error) => {
                tracing::warn!(name, %error, "cannot tell who has the name that this daemon would be known by");
                Name::Unusable
            }
        }),
        Err(error) => {
            tracing::warn!(name, %error, "cannot take the name of this daemon");
            Ok(Name::Unusable)
        }
    }
}

/// The process that has a name, unless it is another user's.
fn holder(name: &str) -> nix::Result<Option<i32>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Not waited for: one that is frozen lets nobody in, and whoever knocks is let wait by the kernel.
    connect(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
    let peer = getsockopt(&socket, PeerCredentials)?;
    let counts = peer.uid() == 0 || peer.uid() == geteuid().as_raw();
    Ok(counts.then_some(peer.pid()))
}

impl Lock {
    /// Lets everybody in who asks for the holder of the name, and sends them off. Never returns.
    pub(super) fn answer(&self) -> impl Future<Output = ()> + Send + 'static {
        let name =
            self.name.as_ref().map(|name| name.try_clone().and_then(tokio::net::UnixListener::from_std));
        async move {
            let Some(Ok(name)) = name else { return std::future::pending().await };
            loop {
                if name.accept().await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes the lock of the file again where that was deleted or replaced.
    pub(super) fn renew(&mut self) {
        let is_same = |there: std::fs::Metadata| {
            self.file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        if std::fs::metadata(&self.path).is_ok_and(is_same) {
            return;
        }
        match lock_file(&self.path) {
            Ok(Some(file)) => self.file = file,
            Ok(None) => {
                tracing::error!(path = %self.path.display(), "somebody else has the lock of this daemon");
            }
            Err(error) => tracing::warn!(%error, "cannot take the lock again, whose file was deleted"),
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
        let mut first = lock(&state_dir).unwrap().ours().unwrap();
        let me = std::process::id().cast_signed();
        let is_theirs = || matches!(lock(&state_dir).unwrap(), Claim::Theirs(Some(pid)) if pid == me);
        assert!(is_theirs());
        std::fs::remove_file(state_dir.join(LOCK)).unwrap();
        assert!(is_theirs());
        assert!(!has_file(&state_dir));
        std::fs::remove_dir_all(&state_dir).unwrap();
        std::fs::create_dir(&state_dir).unwrap();
        assert!(is_theirs());
        first.renew();
        assert!(has_file(&state_dir));
        first.name = None;
        assert!(is_theirs(), "the file alone holds it, too");
        drop(first);
        assert!(lock(&state_dir).unwrap().ours().is_some());
    }
}
