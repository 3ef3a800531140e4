//! Errors of the system as they stand in the middle of a sentence.

use nix::errno::Errno;
use std::io;

/// What went wrong, without its number.
pub fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}
