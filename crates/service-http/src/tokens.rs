//! [`Tokens`]: the two tokens for the API on TCP, each in a file that only its owner can read.

use axum::Extension;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use service_host::disk;
use service_host::fs::private_dir;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// The number of random bytes of a token, which is written in hexadecimal.
const TOKEN_BYTES: usize = 32;
/// The minimum length of a token that the user has chosen.
const MIN_TOKEN_LENGTH: usize = 32;

/// The rights of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// GET requests, except for logs.
    Read,
    /// All requests.
    Admin,
}

impl Role {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// The maximum age of a cached result. The token `read` gets cached results, so that it causes little work.
pub(super) fn max_age(role: Option<Extension<Role>>, most: Duration) -> Duration {
    match role {
        Some(Extension(Role::Read)) => most,
        Some(Extension(Role::Admin)) | None => Duration::ZERO,
    }
}

/// The tokens of a daemon.
pub(super) struct Tokens {
    read: Vec<u8>,
    admin: Vec<u8>,
}

impl Tokens {
    /// Reads the tokens and creates the missing ones.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        private_dir(directory)?;
        Ok(Self { read: token(&directory.join("read"))?, admin: token(&directory.join("admin"))? })
    }

    /// The role of a token. Tokens are compared in constant time.
    pub(super) fn role(&self, given: &[u8]) -> Option<Role> {
        let (read, admin) = (self.read.ct_eq(given), self.admin.ct_eq(given));
        match (bool::from(admin), bool::from(read)) {
            (true, _) => Some(Role::Admin),
            (false, true) => Some(Role::Read),
            (false, false) => None,
        }
    }
}

fn token(path: &Path) -> io::Result<Vec<u8>> {
    let wrong = |why: &str| io::Error::other(format!("`{}` {why}", path.display()));
    let open = File::options().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path);
    let mut file = match open {
        Err(error) if error.kind() == ErrorKind::NotFound => return create_token(path),
        Err(error) => return Err(wrong(&format!("cannot be opened: {error}"))),
        Ok(file) => file,
    };
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(wrong("can be read by others: `chmod 600` it, or remove it to get a new one"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let token = text.trim().as_bytes();
    if token.len() < MIN_TOKEN_LENGTH {
        return Err(wrong("is too short for a token: remove it to get a new one"));
    }
    Ok(token.to_vec())
}

fn create_token(path: &Path) -> io::Result<Vec<u8>> {
    let mut random = [0; TOKEN_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut token = String::new();
    for byte in random {
        let _ = write!(token, "{byte:02x}"); // writing to a string cannot fail
    }
    disk::write_now(path, format!("{token}\n").as_bytes())?;
    Ok(token.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn tokens_are_made_once_for_their_owner_alone_and_each_opens_its_role() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("tokens");
        let tokens = Tokens::open(&place).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&place), mode(&place.join("read")), mode(&place.join("admin"))),
            (0o700, 0o600, 0o600)
        );
        let said = |name: &str| fs::read_to_string(place.join(name)).unwrap().trim().to_owned();
        assert_eq!(said("read").len(), 2 * TOKEN_BYTES);
        assert_ne!(said("read"), said("admin"));
        let again = Tokens::open(&place).unwrap();
        for tokens in [tokens, again] {
            assert_eq!(tokens.role(said("read").as_bytes()), Some(Role::Read));
            assert_eq!(tokens.role(said("admin").as_bytes()), Some(Role::Admin));
            for wrong in ["", "x", &said("admin")[1..], &said("admin").to_uppercase(), &"0".repeat(64)] {
                assert_eq!(tokens.role(wrong.as_bytes()), None, "{wrong}");
            }
        }
    }

    #[test]
    fn a_token_that_others_can_read_or_that_lies_elsewhere_opens_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin");
        create_token(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(token(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::rename(&path, directory.path().join("other")).unwrap();
        std::os::unix::fs::symlink(directory.path().join("other"), &path).unwrap();
        assert!(token(&path).is_err());
        fs::remove_file(&path).unwrap();
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .unwrap()
            .write_all(b"short\n")
            .unwrap();
        assert!(token(&path).unwrap_err().to_string().contains("too short"));
    }
}
