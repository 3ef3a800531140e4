//! The trusted files of a user: `trusted.nuon`, written by `service trust`, one row for a file with the hash of its
//! content.
//!
//! The manager modules that a file names are part of its content. A row lists them, so that a comparison does not
//! require parsing the file.

use crate::environment::{Environment, states};
use crate::ownership::{foreign, read_regular};
use crate::problem::{Code, Problem};
use crate::project::gone;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The maximum size of `services.toml`, and of a file that it names.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// The file in the directory of all states.
pub const TRUSTED: &str = "trusted.nuon";

#[derive(Deserialize)]
struct TrustEntry {
    file: PathBuf,
    hash: String,
    #[serde(default)]
    modules: Vec<String>,
}

/// Whether a file that was found by a search may be used. Returns the hash of the required content, if only that
/// content is trusted.
///
/// # Errors
/// [`Code::UntrustedFile`].
pub(crate) fn may_be_used(found: &Path, around: &Environment<'_>) -> Result<Option<String>, Problem> {
    let Some(why) = foreign(found, around.uid) else { return Ok(None) };
    if let Some(hash) = hash_if_trusted(found, around) {
        return Ok(Some(hash));
    }
    Err(Problem::new(Code::UntrustedFile, format!("cannot use `{}`: {why}", found.display())).help(
        "it defines commands to run: read it, then run `service trust`, or name it with `--config` or \
         $env.SERVICES_CONFIG; `chmod go-w` restricts your own file",
    ))
}

/// The hash of a file's content, if the user trusts this content.
fn hash_if_trusted(file: &Path, around: &Environment<'_>) -> Option<String> {
    let store = states(around).ok()?.join(TRUSTED);
    let file = gone::settled(file);
    let hash = trusted_hash(&store, &file, around.uid)?;
    (hash.modules_match(&file)).then_some(hash.hash)
}

/// Whether a content of this file, identified by [`hash`], is trusted according to this store.
pub fn is_trusted(store: &Path, file: &Path, hash: &str, uid: u32) -> bool {
    trusted_hash(store, file, uid).is_some_and(|row| row.hash == hash)
}

fn trusted_hash(store: &Path, file: &Path, uid: u32) -> Option<TrustEntry> {
    let owner = std::fs::symlink_metadata(store).ok()?;
    if owner.uid() != uid || owner.mode() & 0o022 != 0 {
        return None;
    }
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&read_regular(store, MAX_FILE_BYTES).ok()?).ok()?;
    // A row of another version of this program is skipped.
    let rows = rows.into_iter().filter_map(|row| serde_json::from_value::<TrustEntry>(row).ok());
    rows.into_iter().find(|row| row.file == file)
}

impl TrustEntry {
    fn modules_match(&self, file: &Path) -> bool {
        let Ok(bytes) = read_regular(file, MAX_FILE_BYTES) else { return false };
        let modules = self.modules.iter().map(String::as_str);
        hash(&bytes, file, modules).is_ok_and(|hash| hash == self.hash)
    }
}

/// The hash of a file's content: its SHA-256; with modules, the hash over its own hash, and the names and hashes of the
/// modules.
///
/// # Errors
/// The error of reading a module.
pub fn hash<'m>(
    content: &[u8],
    file: &Path,
    modules: impl IntoIterator<Item = &'m str>,
) -> io::Result<String> {
    combined(sha256(content), file, modules)
}

/// Combines the hash of a file's content with the hashes of its modules.
///
/// # Errors
/// The error of reading a module.
pub fn combined<'m>(
    own: String,
    file: &Path,
    modules: impl IntoIterator<Item = &'m str>,
) -> io::Result<String> {
    let base = file.parent().unwrap_or(Path::new("/"));
    let mut modules: Vec<&str> = modules.into_iter().collect();
    modules.sort_unstable();
    modules.dedup();
    let mut text = own;
    if modules.is_empty() {
        return Ok(text);
    }
    for module in modules {
        let content = read_regular(&base.join(module), MAX_FILE_BYTES)?;
        let _ = write!(text, "\n{module} {}", sha256(&content)); // a String takes everything
    }
    Ok(sha256(text.as_bytes()))
}

/// The SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_part_of_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("services.toml");
        std::fs::write(dir.path().join("m.nu"), "abc").unwrap();
        let plain = hash(b"abc", &file, []).unwrap();
        assert_eq!(plain, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let with = hash(b"abc", &file, ["m.nu", "m.nu"]).unwrap();
        assert_eq!(with, sha256(format!("{plain}\nm.nu {plain}").as_bytes()));
        std::fs::write(dir.path().join("m.nu"), "abd").unwrap();
        assert_ne!(hash(b"abc", &file, ["m.nu"]).unwrap(), with);
        assert!(hash(b"abc", &file, ["gone.nu"]).is_err());
    }
}
