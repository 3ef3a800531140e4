//! [`Additions`]: `additions.json`, the definitions that are in no file.
//!
//! Replaced in one step, readable by its owner alone: environments are in it. The user's own words are kept rather than
//! what they meant to one version of this program, so a later one reads them as it reads a file.

use crate::load::Addition;
use crate::store::write_private;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_core::config::Origin;
use service_core::{Name, Plan};
use std::io;
use std::path::{Path, PathBuf};

/// Format of the file.
const VERSION: u32 = 1;

/// What was added, and where that is written down.
pub(crate) struct Additions {
    path: PathBuf,
    boot_id: String,
    all: Vec<Addition>,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    boot_id: &'a str,
    services: &'a [Addition],
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    boot_id: String,
    #[serde(default)]
    services: Vec<Value>,
}

impl Additions {
    /// Reads what was added before. What is transient ends with its boot. An entry that cannot be read is left out, a
    /// file that cannot be read is set aside.
    pub(crate) fn open(state_dir: &Path, boot_id: &str) -> Self {
        let path = state_dir.join("additions.json");
        let all = match read(&path, boot_id) {
            Ok(all) => all,
            Err(error) => {
                let aside = path.with_extension("json.unreadable");
                let moved = std::fs::rename(&path, &aside);
                tracing::error!(%error, aside = %aside.display(), ?moved, "cannot read what was added; set it aside");
                Vec::new()
            }
        };
        Self { path, boot_id: boot_id.to_owned(), all }
    }

    /// Only looks.
    pub(crate) fn peek(state_dir: &Path, boot_id: &str) -> Vec<Addition> {
        read(&state_dir.join("additions.json"), boot_id).unwrap_or_default()
    }

    /// All of them, in the order in which they were added.
    pub(crate) fn all(&self) -> &[Addition] {
        &self.all
    }

    /// Forgets those that a file defines by now: they are the file's.
    pub(crate) fn yield_to(&mut self, plan: &Plan) {
        let is_files = |name: &Name| plan.id(name).is_some_and(|id| plan.service(id).origin == Origin::File);
        let (taken, left): (Vec<_>, Vec<_>) =
            self.all.iter().cloned().partition(|addition| is_files(&addition.name));
        if !taken.is_empty()
            && let Err(error) = self.replace(left)
        {
            tracing::warn!(%error, "cannot write down that the file defines what was added");
        }
    }

    /// Takes these in place of what there was, if that can be written down.
    pub(crate) fn replace(&mut self, all: Vec<Addition>) -> io::Result<()> {
        let written = Written { version: VERSION, boot_id: &self.boot_id, services: &all };
        write_private(&self.path, &serde_json::to_vec(&written)?)?;
        self.all = all;
        Ok(())
    }
}

fn read(path: &Path, boot_id: &str) -> io::Result<Vec<Addition>> {
    let found: Found = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lasts = |addition: &Addition| !addition.transient || found.boot_id == boot_id;
    let entry = |value| {
        let read: Result<Addition, _> = serde_json::from_value(value);
        read.inspect_err(|error| tracing::warn!(%error, "cannot read one of those that were added")).ok()
    };
    Ok(found.services.into_iter().filter_map(entry).filter(lasts).collect())
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
        let mut additions = Additions::open(dir.path(), "this");
        additions.replace(vec![addition("a", false), addition("b", true)]).unwrap();
        assert_eq!(Additions::open(dir.path(), "this").all(), additions.all());
        assert_eq!(Additions::open(dir.path(), "next").all(), [addition("a", false)]);
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
        assert_eq!(Additions::open(dir.path(), "this").all(), [addition("a", false)]);
        std::fs::write(&path, "{").unwrap();
        assert!(Additions::open(dir.path(), "this").all().is_empty());
        assert!(dir.path().join("additions.json.unreadable").exists());
    }
}
