//! CA files: the certificates that health checks trust. Without the feature `certificates`, only the file itself is
//! checked.

use super::text::describe_io_error;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;
#[cfg(feature = "certificates")]
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

/// The maximum size of a CA file.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Why a CA file cannot be used.
#[derive(Debug, Error)]
#[error("cannot use `ca_file`, which is `{}`: {reason}", path.display())]
pub struct CaFileError {
    path: PathBuf,
    reason: CaFileReason,
}

#[derive(Debug, Error)]
enum CaFileReason {
    #[error("{}", describe_io_error(.0))]
    Read(#[from] io::Error),
    #[cfg(feature = "certificates")]
    #[error(transparent)]
    Pem(#[from] tokio_rustls::rustls::pki_types::pem::Error),
    #[cfg(feature = "certificates")]
    #[error("it contains no certificate (expected PEM)")]
    Empty,
}

/// The certificates of a CA file, at least one.
#[cfg(feature = "certificates")]
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaFileError> {
    let certificates = || {
        let known = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>()?;
        if known.is_empty() { Err(CaFileReason::Empty) } else { Ok(known) }
    };
    certificates().map_err(|reason| CaFileError { path: path.to_path_buf(), reason })
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
pub fn check_ca_file(path: &Path) -> Option<CaFileError> {
    read_certificates(path).err()
}

/// Why a CA file cannot be used; `None` if it can.
#[cfg(not(feature = "certificates"))]
pub fn check_ca_file(path: &Path) -> Option<CaFileError> {
    read(path).err().map(|error| CaFileError { path: path.to_path_buf(), reason: error.into() })
}
