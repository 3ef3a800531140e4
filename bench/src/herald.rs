//! [`Herald`]: hears which services are alive, from the services themselves.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest that anybody may take for anything here.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Herald {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Herald {
    pub(crate) fn new(directory: &Path) -> Self {
        let path = directory.join("herald");
        let socket = UnixDatagram::bind(&path).expect("a directory of our own takes a socket");
        // Many speak at once, and none of them is to wait.
        let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(8 << 20));
        Self { socket, path }
    }

    /// What the payload is told.
    pub(crate) fn address(&self) -> String {
        self.path.display().to_string()
    }

    /// Waits until so many more are alive: their process ids, and when the last one spoke.
    pub(crate) fn hear(&self, count: usize) -> (BTreeSet<u32>, Instant) {
        let deadline = Instant::now() + PATIENCE;
        let mut alive = BTreeSet::new();
        let mut word = [0; 16];
        while alive.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {} of {count} services are alive after {PATIENCE:?}", alive.len());
            self.socket.set_read_timeout(Some(left)).expect("a socket takes a time");
            let Ok(length) = self.socket.recv(&mut word) else { continue };
            let text = std::str::from_utf8(&word[..length]).unwrap_or_default();
            alive.insert(text.parse().expect("a payload says its process id"));
        }
        (alive, Instant::now())
    }
}
