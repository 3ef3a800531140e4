//! Descriptors that are not ours to hold, nor our services': those that whoever started this program left open, and those
//! that a fork brings along.

use nix::libc::{SYS_close_range, c_uint, syscall};
use std::os::fd::RawFd;

/// The first descriptor after standard input, output and error.
const FIRST: RawFd = 3;

/// Closes everything but standard input, output and error. To be called before anything is opened. A kernel that cannot
/// do it (Linux before 5.9) leaves them open.
pub fn close() {
    close_but(&mut []);
}

/// Closes everything but standard input, output, error and these, however many there are, in a few calls. Nothing that owns
/// one of the others may be used or dropped afterwards. `false` from a kernel that cannot do it (Linux before 5.9); then all
/// are open still.
pub fn close_but(kept: &mut [RawFd]) -> bool {
    kept.sort_unstable();
    let mut from = FIRST;
    kept.iter().filter(|fd| **fd >= FIRST).all(|fd| {
        let before = std::mem::replace(&mut from, fd + 1);
        before >= *fd || close_range(before, fd - 1)
    }) && close_range(from, RawFd::MAX)
}

#[expect(unsafe_code, reason = "closing what somebody else may use is unsafe in general")]
fn close_range(first: RawFd, last: RawFd) -> bool {
    let [first, last]: [c_uint; 2] = [first, last].map(RawFd::cast_unsigned);
    // SAFETY: nobody uses these any more, as those who call `close` and `close_but` see to.
    unsafe { syscall(SYS_close_range, first, last, 0) == 0 }
}
