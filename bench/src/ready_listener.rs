//! [`ReadyListener`]: a datagram socket on which each service reports its process id once it is alive.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long all services may take to become alive.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) struct ReadyListener {
    socket: UnixDatagram,
    path: PathBuf,
}

impl ReadyListener {
    pub(crate) fn new(directory: &Path) -> Self {
        let path = directory.join("ready");
        let socket = UnixDatagram::bind(&path).expect("a directory of our own takes a socket");
        // Many services report at once; none of them may block.
        let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(8 << 20));
        Self { socket, path }
    }

    /// The socket's path, an argument of the payload.
    pub(crate) fn address(&self) -> String {
        self.path.display().to_string()
    }

    /// Waits until `count` more services are alive. Returns their process ids, and when the last report came.
    pub(crate) fn wait_for(&self, count: usize) -> (BTreeSet<u32>, Instant) {
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut alive = BTreeSet::new();
        let mut word = [0; 16];
        while alive.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "only {} of {count} services are alive after {READY_TIMEOUT:?}",
                alive.len()
            );
            self.socket.set_read_timeout(Some(left)).expect("a socket takes a time");
            let Ok(length) = self.socket.recv(&mut word) else { continue };
            let text = std::str::from_utf8(&word[..length]).unwrap_or_default();
            alive.insert(text.parse().expect("a payload says its process id"));
        }
        (alive, Instant::now())
    }
}
