//! Ports that no concurrent test uses.

use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port, below the range that the kernel assigns to outgoing connections.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A free port, reserved for this process by a file lock.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let locks = std::env::temp_dir().join("service-tests-ports");
    std::fs::create_dir_all(&locks).expect("a temporary directory can be written");
    let first = u16::try_from(std::process::id() % u32::from(COUNT)).expect("smaller than COUNT");
    for _ in 0..COUNT {
        let port = FIRST + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let file = File::create(locks.join(port.to_string())).expect("a lock file can be written");
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            // The port belongs to this process until it exits.
            std::mem::forget(lock);
            return port;
        }
    }
    panic!("no port is free");
}
