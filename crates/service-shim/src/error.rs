//! Errors that name the step that failed.

use std::io;

/// The error `cannot {what}: {error}`.
pub(crate) fn because(what: &str, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!("cannot {what}: {error}"))
}
