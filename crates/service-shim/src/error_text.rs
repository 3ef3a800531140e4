//! Texts of system errors, to be embedded in a sentence.

use nix::errno::Errno;
use nix::libc::RLIM_INFINITY;
use nix::sys::resource::{Resource, getrlimit};
use std::io;

/// Describes an error without its `errno`.
pub fn describe_error(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

/// Explains a failed fork. If a limit is reached, the kernel reports only EAGAIN.
pub fn explain_process_limit(error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(Errno::EAGAIN as i32) {
        return error;
    }
    let own = getrlimit(Resource::RLIMIT_NPROC).map_or(RLIM_INFINITY, |(soft, _)| soft);
    let own = if own == RLIM_INFINITY { String::new() } else { format!(" ({own} here)") };
    let why = format!(
        "the limit on processes is reached; see `ulimit -u`{own}, `pids.max` of the cgroup, and \
         `kernel.pid_max`"
    );
    io::Error::new(error.kind(), why)
}

/// The error `cannot {what}: {error}`.
pub fn with_context(what: &str, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!("cannot {what}: {error}"))
}
