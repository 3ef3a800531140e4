//! Closes inherited descriptors, which the parent of this program left open or a fork has copied.

use nix::libc::{SYS_close_range, c_uint, syscall};
use std::os::fd::RawFd;

/// The first descriptor after standard input, output and error.
const FIRST: RawFd = 3;

/// Closes everything but standard input, output and error. Must be called before any file is opened. On Linux before
/// 5.9 the descriptors stay open.
pub fn close_all() {
    close_except(&mut []);
}

/// Closes everything but standard input, output and error and `kept`, in a few system calls. Owners of the other
/// descriptors must be neither used nor dropped afterwards. Returns `false` on Linux before 5.9, where all descriptors
/// stay open.
pub fn close_except(kept: &mut [RawFd]) -> bool {
    kept.sort_unstable();
    let mut from = FIRST;
    kept.iter().filter(|fd| **fd >= FIRST).all(|fd| {
        let before = std::mem::replace(&mut from, fd + 1);
        before >= *fd || close_range(before, fd - 1)
    }) && close_range(from, RawFd::MAX)
}

#[expect(unsafe_code, reason = "closing a descriptor that other code may use is unsafe in general")]
fn close_range(first: RawFd, last: RawFd) -> bool {
    let [first, last]: [c_uint; 2] = [first, last].map(RawFd::cast_unsigned);
    // SAFETY: nothing uses these descriptors any more, as the callers of `close_all` and `close_except` ensure.
    unsafe { syscall(SYS_close_range, first, last, 0) == 0 }
}
