//! CA files: the certificates that health checks trust. Without the feature `certificates`, only the file itself is
//! checked.

use super::text::describe_io_error;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
#[cfg(feature = "certificates")]
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

/// The maximum size of a CA file.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The certificates of a CA file, at least one.
#[cfg(feature = "certificates")]
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path).map_err(|error| describe(path, &describe_io_error(&error)))?;
    let known: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let known = known.map_err(|error| describe(path, &error))?;
    if known.is_empty() {
        return Err(describe(path, &"it contains no certificate (expected PEM)"));
    }
    Ok(known)
}

/// Reads a regular file up to a limit. Other kinds of files are rejected, because reading them may block.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is too large"));
    }
    Ok(bytes)
}

/// Why a CA file cannot be used; `None` if it can.
#[cfg(feature = "certificates")]
pub fn check_ca_file(path: &Path) -> Option<String> {
    read_certificates(path).err()
}

/// Why a CA file cannot be used; `None` if it can.
#[cfg(not(feature = "certificates"))]
pub fn check_ca_file(path: &Path) -> Option<String> {
    read(path).err().map(|error| describe(path, &describe_io_error(&error)))
}

fn describe(path: &Path, why: &dyn Display) -> String {
    format!("cannot use `ca_file`, which is `{}`: {why}", path.display())
}
