//! A simulated power loss: every process is killed and another boot begins. For each file, the disk randomly has all,
//! some or none of the writes of the last one or two seconds, or zeros. (Unlike `tests/tests/power`, this module has no
//! information about syncs, so it removes only writes that are too recent to be synced.)

use crate::chance::Chance;
use crate::project::{Project, boot_id};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The contents of files.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All regular files of the state.
pub(crate) fn files(project: &Project) -> Files {
    let mut files = Files::new();
    gather(&project.state(), &mut files);
    files
}

fn gather(directory: &Path, files: &mut Files) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => gather(&path, files),
            Ok(kind) if kind.is_file() && entry.file_name() != "filler" => {
                if let Ok(bytes) = fs::read(&path) {
                    files.insert(path, bytes);
                }
            }
            _ => (),
        }
    }
}

/// Reverts files to contents that a disk may have retained. No process may run.
pub(crate) fn lose(project: &Project, before: &Files, chance: &mut Chance) {
    let after = files(project);
    for (path, bytes) in &after {
        let kept = match (before.get(path), chance.below(4)) {
            (_, 0) => continue,
            (Some(old), _) if old == bytes => continue,
            (None, 1) => {
                log_change(project, path, "is gone", fs::remove_file(path));
                continue;
            }
            (None, _) => bytes[..part(bytes.len(), chance)].to_vec(),
            (Some(old), how) if bytes.starts_with(old) => appended(old, bytes, how, chance),
            (Some(old), _) => old.clone(),
        };
        log_change(
            project,
            path,
            &format!("has {} of {} bytes", kept.len(), bytes.len()),
            fs::write(path, kept),
        );
    }
    let gone = before.iter().filter(|(path, _)| !after.contains_key(*path));
    for (path, bytes) in gone {
        let is_there_again = path.parent().is_some_and(Path::is_dir) && chance.percent(50);
        if is_there_again {
            log_change(project, path, "is there again", fs::write(path, bytes));
        }
    }
    // The contents of tmpfs are lost.
    let run = project.root.join("run");
    log_change(project, &run, "is empty", fs::remove_dir_all(&run).and_then(|()| fs::create_dir(&run)));
    let boot = boot_id(chance.between(1, 999_999_999));
    log_change(project, Path::new("boot"), &boot, fs::write(project.root.join("boot"), &boot));
}

fn appended(old: &[u8], bytes: &[u8], how: u64, chance: &mut Chance) -> Vec<u8> {
    let fresh = bytes.len() - old.len();
    let mut kept = bytes[..old.len() + part(fresh, chance)].to_vec();
    if how == 1 {
        kept.resize(bytes.len(), 0);
    }
    kept
}

fn part(length: usize, chance: &mut Chance) -> usize {
    usize::try_from(chance.below(length as u64 + 1)).unwrap_or(0)
}

fn log_change(project: &Project, path: &Path, what: &str, done: std::io::Result<()>) {
    let failed = done.err().map(|error| format!(": {error}")).unwrap_or_default();
    project.log(&format!("power loss: {} {}{failed}", path.display(), what.trim_end()));
}
