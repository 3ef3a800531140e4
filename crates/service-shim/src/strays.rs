//! Descriptors that whoever started this program left open: they are not ours to hold, nor our services'.

/// Closes everything but standard input, output and error. To be called before anything is opened. A kernel that cannot
/// do it (Linux before 5.9) leaves them open.
#[expect(unsafe_code, reason = "closing what somebody else may use is unsafe in general")]
pub fn close() {
    use nix::libc::{SYS_close_range, c_uint, syscall};
    let first: c_uint = 3;
    // SAFETY: nothing in this program has opened anything yet.
    unsafe { syscall(SYS_close_range, first, c_uint::MAX, 0) };
}
