//! Errors of the system as they stand in the middle of a sentence.

use nix::errno::Errno;
use nix::libc::RLIM_INFINITY;
use nix::sys::resource::{Resource, getrlimit};
use std::io;

/// What went wrong, without its number.
pub fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

/// Why no process could be made. Of a limit that is reached the kernel says no more than to try again.
pub fn no_process(error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(Errno::EAGAIN as i32) {
        return error;
    }
    let own = getrlimit(Resource::RLIMIT_NPROC).map_or(RLIM_INFINITY, |(soft, _)| soft);
    let own = if own == RLIM_INFINITY { String::new() } else { format!(" ({own} here)") };
    let why = format!(
        "as many processes run as may; see `ulimit -u`{own}, `pids.max` of the cgroup, and `kernel.pid_max`"
    );
    io::Error::new(error.kind(), why)
}
