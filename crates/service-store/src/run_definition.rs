//! The definition of each service's last run, stored beside the run record for later daemons; and the names of the
//! services in the last applied file.
//!
//! Environment values are stored as salted hashes: enough to detect a change, not to recover the value.
//!
//! The first line of the file is the definition. Each further line is the number of a later run with the same
//! definition.

use serde::{Deserialize, Serialize};
use service_api::trust::sha256;
use service_core::config::{Manager, Service};
use service_core::{Name, Plan};
use service_host::disk;
use service_host::fs::private_dir;
use service_host::fs::{open_private, write_private};
use service_host::paths::Paths;
use service_shim::Files;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::{self, Write};
use std::path::PathBuf;

/// The file size at which the file is rewritten instead of appended to.
const MAX_NOTES_BYTES: u64 = 16 * 1024;

#[derive(Serialize, Deserialize)]
struct StoredRun {
    run: u64,
    /// The salt of this file.
    #[serde(default)]
    salt: u64,
    definition: Service,
}

#[derive(Serialize, Deserialize)]
struct RepeatedRun {
    run: u64,
}

/// Creates the files of a start in advance. Errors are ignored, because the start reports them.
pub fn prepare(files: &Files) {
    let made = private_dir(files.directory()).and_then(|()| files.prepare());
    let _ = made.and_then(|()| open_private(&path(files)));
}

/// Saves the definition of a run; `same` if it equals the stored one. If this fails, the next daemon uses the
/// definition in `services.toml`.
pub fn save(paths: &Paths, definition: &Service, run: u64, same: bool) -> io::Result<()> {
    let files = paths.files(&definition.name);
    write(&files, definition, run, same).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            private_dir(files.directory())?;
            write(&files, definition, run, same)
        }
        _ => Err(error),
    })
}

/// Writes the definition of a run; with `same`, appends only the number of the run, which is ten times as fast.
fn write(files: &Files, definition: &Service, run: u64, same: bool) -> io::Result<()> {
    let mut file = open_private(&path(files))?;
    match file.metadata()?.len() {
        0 => file.write_all(&serialize(definition, run)?),
        // The previous line may be incomplete.
        1..=MAX_NOTES_BYTES if same => file.write_all(
            &[b"\n".to_vec(), disk::append_checksum(serde_json::to_vec(&RepeatedRun { run })?)].concat(),
        ),
        _ => write_private(&path(files), &serialize(definition, run)?),
    }
}

fn serialize(definition: &Service, run: u64) -> serde_json::Result<Vec<u8>> {
    let (salt, mut definition) = (RandomState::new().hash_one(run), definition.clone());
    for (key, value) in &mut definition.env {
        *value = fingerprint(salt, key, value);
    }
    Ok(disk::append_checksum(serde_json::to_vec(&StoredRun { run, salt, definition })?))
}

fn path(files: &Files) -> PathBuf {
    files.directory().join("definition.json")
}

/// The definition of this run, if it is stored and readable. A variable with an unchanged value gets the value of
/// `now`; any other variable has only its hash.
pub fn load(paths: &Paths, now: &Service, run: u64) -> Option<Service> {
    // Runs are numbered from 1, so the service never ran. The lookup is skipped because a project may have hundreds of
    // such services.
    if run == 0 {
        return None;
    }
    let text = std::fs::read(path(&paths.files(&now.name))).ok()?;
    let mut lines = text.split(|&byte| byte == b'\n');
    let StoredRun { run: first, salt, mut definition } = disk::verify_checksum(lines.next()?).ok()?;
    let last = lines.rev().find_map(|line| disk::verify_checksum(line).ok());
    for (key, value) in &mut definition.env {
        let same =
            now.env.iter().find(|(other, known)| other == key && is_fingerprint(value, salt, key, known));
        if let Some((_, known)) = same {
            value.clone_from(known);
        }
    }
    (last.map_or(first, |RepeatedRun { run }| run) == run && definition.name == now.name)
        .then_some(definition)
}

/// The number of the last run of a service with a stored definition; 0 without a readable one.
pub fn last_run(files: &Files) -> u64 {
    let text = std::fs::read(path(files)).unwrap_or_default();
    let runs =
        text.split(|&byte| byte == b'\n').filter_map(|line| disk::verify_checksum::<RepeatedRun>(line).ok());
    runs.map(|RepeatedRun { run }| run).max().unwrap_or(0)
}

/// The manager of a service's last run.
pub fn last_manager(files: &Files) -> io::Result<Manager> {
    #[derive(Deserialize)]
    struct StoredRun {
        definition: RunManager,
    }
    #[derive(Deserialize)]
    struct RunManager {
        manager: Manager,
    }
    let text = std::fs::read(path(files))?;
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Ok(disk::verify_checksum::<StoredRun>(first)?.definition.manager)
}

/// The definition without variables of unknown value, for the stop of a service that is no longer defined.
pub fn without_unknown(mut definition: Service) -> Service {
    definition.env.retain(|(_, value)| !value.starts_with(HASH_MARK));
    definition
}

/// Whether a value is a hash, so that the variable's value is unknown.
pub fn is_incomplete(definition: &Service) -> bool {
    definition.env.iter().any(|(_, value)| value.starts_with(HASH_MARK))
}

/// The first character of a hash. No value of an environment can contain it.
const HASH_MARK: char = '\0';
/// The prefix of a SHA-256 fingerprint. Fingerprints without this prefix come from a hash of the standard library,
/// which may differ in another Rust release.
const SHA256: &str = "2:";

/// A salted hash of a variable: enough to detect a change, not to recover the value.
fn fingerprint(salt: u64, key: &str, value: &str) -> String {
    let length = u64::try_from(key.len()).unwrap_or(u64::MAX);
    let parts = [&salt.to_le_bytes()[..], &length.to_le_bytes(), key.as_bytes(), value.as_bytes()];
    format!("{HASH_MARK}{SHA256}{}", &sha256(&parts.concat())[..32])
}

/// Whether this is the fingerprint of this variable.
fn is_fingerprint(found: &str, salt: u64, key: &str, value: &str) -> bool {
    let Some(hash) = found.strip_prefix(HASH_MARK) else { return false };
    if hash.starts_with(SHA256) {
        return found == fingerprint(salt, key, value);
    }
    let mut hasher = DefaultHasher::new();
    (salt, key, value).hash(&mut hasher);
    hash == format!("{:016x}", hasher.finish())
}

/// The names of the last applied file; of this plan if nothing was applied.
pub fn load_applied_names(paths: &Paths, plan: &Plan) -> BTreeSet<Name> {
    let read = disk::peek(&applied(paths), |json| Ok(serde_json::from_slice(json)?));
    read.unwrap_or_else(|| {
        let names = plan.ids().map(|id| plan.service(id).name.clone()).collect();
        save_applied_names(paths, &names);
        names
    })
}

/// Saves the names of the applied file.
pub fn save_applied_names(paths: &Paths, names: &BTreeSet<Name>) {
    let json = serde_json::to_vec(names).map_err(io::Error::from);
    if let Err(error) = json.and_then(|json| paths.disk.replace(&applied(paths), &json)) {
        tracing::warn!(%error, "cannot save the applied definitions");
    }
}

fn applied(paths: &Paths) -> PathBuf {
    paths.state_dir.join("applied.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_core::config::Command;

    fn paths(state_dir: &std::path::Path) -> Paths {
        let (project, base_dir, boot_id, disk) = Default::default();
        Paths {
            state_dir: state_dir.to_owned(),
            fallback_state_file: None,
            project,
            base_dir,
            nu: None,
            boot_id,
            disk,
        }
    }

    fn web(command: &str) -> Service {
        let mut web = Service::new(Name::new("web").unwrap());
        web.start_command = Command { text: command.to_owned(), argv: vec![command.to_owned()] };
        web.env = vec![("KEY".to_owned(), "value".to_owned())];
        web
    }

    #[test]
    fn a_fingerprint_is_the_same_in_every_release() {
        let made = fingerprint(7, "KEY", "value");
        assert_eq!(made, format!("\0{}", "2:5f4589b8467b250245f4182763b4aa9d"));
        assert!(is_fingerprint(&made, 7, "KEY", "value"));
        assert!(!is_fingerprint(&made, 7, "KE", "Yvalue"));
        let mut hasher = DefaultHasher::new();
        (7_u64, "KEY", "value").hash(&mut hasher);
        assert!(
            is_fingerprint(&format!("\0{:016x}", hasher.finish()), 7, "KEY", "value"),
            "of the version before"
        );
    }

    #[test]
    fn the_definition_of_the_last_run_is_known_and_of_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (paths, web) = (paths(directory.path()), web("one"));
        for run in 1..2_000 {
            save(&paths, &web, run, run > 1).unwrap();
            assert_eq!(load(&paths, &web, run), Some(web.clone()));
            assert_eq!(load(&paths, &web, run - 1), None);
        }
        let file = path(&paths.files(&web.name));
        assert!(file.metadata().unwrap().len() < 2 * MAX_NOTES_BYTES);
        let torn = [&std::fs::read(&file).unwrap()[..], b"\n{\"ru"].concat();
        std::fs::write(&file, torn).unwrap();
        assert_eq!(load(&paths, &web, 1_999), Some(web.clone()));
        save(&paths, &web, 2_000, true).unwrap();
        assert_eq!(load(&paths, &web, 2_000), Some(web));
    }

    #[test]
    fn of_a_definition_that_has_changed_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        save(&paths, &web("secret"), 1, false).unwrap();
        save(&paths, &web("two"), 2, false).unwrap();
        assert_eq!(load(&paths, &web("two"), 2), Some(web("two")));
        let text = std::fs::read_to_string(path(&paths.files(&web("two").name))).unwrap();
        assert!(!text.contains("secret"), "{text}");
    }
}
