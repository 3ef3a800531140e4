//! [`Additions`]: `additions.json`, the definitions of added services.
//!
//! The file is replaced atomically. Only its owner can read it, because it has environments. The file has the keys as
//! the user wrote them, so that a later version of this program reads them like `services.toml`.
//!
//! The first line has the number of definitions that follow. Each definition is one line with a checksum. (Version 1 was
//! one JSON object.)

use super::added::Addition;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_core::config::Origin;
use service_core::{Name, Plan};
use service_host::disk::{self, Disk};
use std::io;
use std::path::{Path, PathBuf};

/// Format of the file.
const VERSION: u32 = 2;

/// The added services and their file.
pub struct Additions {
    path: PathBuf,
    boot_id: String,
    disk: Disk,
    all: Vec<Addition>,
}

/// The first line.
#[derive(Serialize)]
struct AdditionsHeader<'a> {
    version: u32,
    boot_id: &'a str,
    count: usize,
}

#[derive(Deserialize)]
struct FoundHeader {
    #[serde(default)]
    boot_id: String,
    /// The number of lines that follow.
    #[serde(default)]
    count: usize,
    /// The definitions of version 1.
    #[serde(default)]
    services: Vec<Value>,
}

impl Additions {
    /// Reads the file. Transient services of an earlier boot and unreadable entries are left out. A damaged file is set
    /// aside, and its previous version is used.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(state_dir: &Path, boot_id: &str, disk: Disk) -> io::Result<Self> {
        let path = state_dir.join("additions.json");
        let written = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            written => written?,
        };
        let whole = disk.read(&path, |bytes| parse(bytes, boot_id))?;
        Ok(Self { path, boot_id: boot_id.to_owned(), disk, all: with_rest_of(&written, boot_id, whole) })
    }

    /// Reads the added services without changing the file.
    pub fn current(state_dir: &Path, boot_id: &str) -> Vec<Addition> {
        let path = state_dir.join("additions.json");
        let written = std::fs::read(&path).unwrap_or_default();
        with_rest_of(&written, boot_id, disk::peek(&path, |bytes| parse(bytes, boot_id)))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All added services, in the order in which they were added.
    pub fn all(&self) -> &[Addition] {
        &self.all
    }

    /// Drops added services that `services.toml` defines now.
    pub fn drop_defined(&mut self, plan: &Plan) {
        let is_files = |name: &Name| plan.id(name).is_some_and(|id| plan.service(id).origin == Origin::File);
        let (taken, left): (Vec<_>, Vec<_>) =
            self.all.iter().cloned().partition(|addition| is_files(&addition.name));
        if !taken.is_empty()
            && let Err(error) = self.replace(left)
        {
            tracing::warn!(%error, "cannot save which added services the file defines");
        }
    }

    /// Replaces all added services.
    ///
    /// # Errors
    /// The file cannot be written. The added services are unchanged then.
    pub fn replace(&mut self, all: Vec<Addition>) -> io::Result<()> {
        let head = AdditionsHeader { version: VERSION, boot_id: &self.boot_id, count: all.len() };
        let mut text = disk::append_checksum(serde_json::to_vec(&head)?);
        for addition in &all {
            text.push(b'\n');
            text.extend(disk::append_checksum(serde_json::to_vec(addition)?));
        }
        self.disk.replace(&self.path, &text)?;
        self.all = all;
        Ok(())
    }
}

/// All definitions of a file.
///
/// # Errors
/// Some definitions are missing.
fn parse(bytes: &[u8], boot_id: &str) -> io::Result<Vec<Addition>> {
    let (found, entries) = entries(bytes)?;
    if entries.len() < found.count {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has {} of {} definitions", entries.len(), found.count),
        ));
    }
    Ok(read(&found, entries, boot_id))
}

/// The readable definitions of a damaged file, together with the definitions of its previous version.
fn with_rest_of(written: &[u8], boot_id: &str, whole: Option<Vec<Addition>>) -> Vec<Addition> {
    let mut all = whole.unwrap_or_default();
    if parse(written, boot_id).is_err()
        && let Ok((found, entries)) = entries(written)
    {
        let rest = read(&found, entries, boot_id);
        all.retain(|addition| rest.iter().all(|newer| newer.name != addition.name));
        all.extend(rest);
    }
    all
}

fn entries(bytes: &[u8]) -> io::Result<(FoundHeader, Vec<Value>)> {
    // After a power failure, a file system may have zeros in place of content.
    let mut lines = without_zeros(bytes).split(|byte| *byte == b'\n');
    let mut found: FoundHeader = disk::verify_checksum(lines.next().unwrap_or_default())?;
    let mut entries = std::mem::take(&mut found.services);
    entries.extend(lines.filter_map(|line| disk::verify_checksum::<Value>(line).ok()));
    Ok((found, entries))
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

fn read(found: &FoundHeader, entries: Vec<Value>, boot_id: &str) -> Vec<Addition> {
    let lasts = |addition: &Addition| !addition.transient || found.boot_id == boot_id;
    let entry = |value| {
        let read: Result<Addition, _> = serde_json::from_value(value);
        read.inspect_err(|error| tracing::warn!(%error, "cannot read an added definition")).ok()
    };
    entries.into_iter().filter_map(entry).filter(lasts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addition(name: &str, transient: bool) -> Addition {
        Addition { name: Name::new(name).unwrap(), keys: serde_json::Map::new(), transient }
    }

    #[test]
    fn what_was_added_is_there_again_and_what_is_transient_only_within_its_boot() {
        let dir = tempfile::tempdir().unwrap();
        let mut additions = Additions::open(dir.path(), "this", Disk::default()).unwrap();
        additions.replace(vec![addition("a", false), addition("b", true)]).unwrap();
        assert_eq!(Additions::open(dir.path(), "this", Disk::default()).unwrap().all(), additions.all());
        assert_eq!(
            Additions::open(dir.path(), "next", Disk::default()).unwrap().all(),
            [addition("a", false)]
        );
    }

    #[test]
    fn what_cannot_be_read_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("additions.json");
        std::fs::write(
            &path,
            r#"{"version":2,"new":1,"services":[{"name":"../x"},{"name":"a","keys":{},"later":1}]}"#,
        )
        .unwrap();
        assert_eq!(
            Additions::open(dir.path(), "this", Disk::default()).unwrap().all(),
            [addition("a", false)]
        );
        std::fs::write(&path, "{").unwrap();
        assert!(Additions::open(dir.path(), "this", Disk::default()).unwrap().all().is_empty());
        assert!(dir.path().join("additions.json.unreadable").exists());
    }

    #[test]
    fn a_power_failure_takes_only_what_it_tore() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("additions.json");
        let mut additions = Additions::open(directory.path(), "this", Disk::default()).unwrap();
        let all = vec![addition("a", false), addition("b", false), addition("c", false)];
        additions.replace(all.clone()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for (damaged, expected) in [
            ([&whole[..], &[0; 100]].concat(), &all[..]),
            (whole[..whole.len() - 3].to_vec(), &all[..2]),
            ([&whole[..whole.len() - 30], &[0; 30]].concat(), &all[..2]),
        ] {
            std::fs::write(&path, damaged).unwrap();
            let disk = Disk::default();
            assert_eq!(Additions::open(directory.path(), "next", disk.clone()).unwrap().all(), expected);
            assert_eq!(disk.damage().is_empty(), expected.len() == 3, "{:?}", disk.damage());
        }
    }
}
