//! The run directory of a project: locks, records and sockets of its runs, in memory, so that a start does not wait for
//! the disk.
//!
//! The link `run` in the state directory leads to it. Every daemon of the project therefore uses the same one, also if
//! it was started in another environment. Without a directory in memory, `run` is a directory itself.

use crate::fs::private_dir;
use crate::paths::{Paths, run_directory_name};
use service_core::Name;
use service_shim::Files;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

/// Creates the run directory of a project, unless it exists. An existing one remains in use wherever it is.
///
/// # Errors
/// Neither a directory in memory nor one in the state directory can be used.
pub fn establish(paths: &Paths) -> io::Result<()> {
    let runs = paths.runs();
    if runs.is_dir() {
        return private_dir(&runs);
    }
    let name = run_directory_name(&paths.state_dir);
    let in_memory = paths.memory_directories.iter().map(|directory| directory.join(&name));
    let usable = in_memory.into_iter().find(|directory| {
        let made = private_dir(directory);
        made.inspect_err(
            |error| tracing::warn!(path = %directory.display(), %error, "cannot use a directory"),
        )
        .is_ok()
    });
    match usable {
        Some(directory) => relink(&directory, &runs),
        None => {
            remove_link(&runs)?;
            private_dir(&runs)
        }
    }
}

/// Creates the run directory of a service for its next run, and first that of the project if it is gone. The last run is
/// over.
///
/// # Errors
/// The directory cannot be created.
pub fn create(paths: &Paths, files: &Files) -> io::Result<()> {
    create_for_running(paths, files)?;
    remove_former_links(files)
}

/// Creates the run directory of a service whose run goes on, and first that of the project if it is gone. Links to the files
/// of a former version remain, because its shim uses them.
///
/// # Errors
/// The directory cannot be created.
pub fn create_for_running(paths: &Paths, files: &Files) -> io::Result<()> {
    match create_if_missing(files) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            establish(paths)?;
            create_if_missing(files)
        }
        made => made,
    }
}

fn create_if_missing(files: &Files) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(files.run_directory()) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Leads the link to another directory, in one step.
fn relink(target: &Path, link: &Path) -> io::Result<()> {
    let aside = link.with_extension("new");
    remove_link(&aside)?;
    symlink(target, &aside)?;
    std::fs::rename(aside, link)
}

fn remove_link(link: &Path) -> io::Result<()> {
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The files of a shim before version 4, which lie in the state directory.
const FORMER_FILES: [&str; 3] = ["run.lock", "shim.sock", "limits.json"];

/// Makes the shims of a former version reachable in the run directory, by links to their files. The lock of a former run
/// that is over is removed.
///
/// The daemon holds its own lock, so no other daemon launches a service meanwhile. A shim without a daemon does not begin.
///
/// # Errors
/// The directories of the services cannot be read, or a link cannot be created.
pub fn link_former_runs(paths: &Paths) -> io::Result<()> {
    let entries = match std::fs::read_dir(paths.services()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let former = entry?.path();
        let Some(name) = former.file_name().and_then(|name| Name::new(name.to_str()?).ok()) else { continue };
        let lock = Files::new(&former).lock();
        if !lock.try_exists().unwrap_or(false) {
            continue;
        }
        // An unreadable lock is linked too, and explained when the service is examined.
        if let Ok(Some(_lock)) = Files::new(&former).try_lock() {
            std::fs::remove_file(lock)?;
            continue;
        }
        let files = paths.files(&name);
        create_if_missing(&files)?;
        for file in FORMER_FILES {
            let link = files.run_directory().join(file);
            if !link.try_exists().unwrap_or(true) {
                relink(&former.join(file), &link)?;
            }
        }
    }
    Ok(())
}

/// Removes the links to the files of a former run, and these files.
fn remove_former_links(files: &Files) -> io::Result<()> {
    if !files.lock().is_symlink() {
        return Ok(());
    }
    for file in FORMER_FILES {
        remove_link(&files.directory().join(file))?;
        remove_link(&files.run_directory().join(file))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        Name::new("web").unwrap()
    }

    #[test]
    fn a_run_directory_is_made_in_memory_and_kept_until_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let [state, one, two] = ["state", "one", "two"].map(|name| directory.path().join(name));
        std::fs::create_dir(&state).unwrap();
        let with = |memory: &[&std::path::PathBuf]| Paths {
            memory_directories: memory.iter().map(|path| (*path).clone()).collect(),
            ..Paths::new(&state)
        };
        let paths = with(&[&one]);
        create(&paths, &paths.files(&name())).unwrap();
        assert!(one.join("state.run/web").is_dir());
        establish(&with(&[&two])).unwrap();
        assert!(!two.exists(), "the other environment of a later daemon");
        std::fs::remove_dir_all(&one).unwrap();
        std::fs::write(&one, "").unwrap();
        let paths = with(&[&one, &two]);
        create(&paths, &paths.files(&name())).unwrap();
        assert!(two.join("state.run/web").is_dir(), "the first one cannot be used");
        std::fs::remove_dir_all(&two).unwrap();
        establish(&with(&[])).unwrap();
        assert!(!paths.runs().is_symlink() && paths.runs().is_dir(), "no memory");
    }

    #[test]
    fn a_shim_of_a_former_version_is_found_and_the_lock_of_an_ended_run_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path());
        establish(&paths).unwrap();
        let former = Files::new(paths.services().join("web"));
        std::fs::create_dir_all(former.directory()).unwrap();
        let lock = former.try_lock().unwrap().unwrap();
        link_former_runs(&paths).unwrap();
        assert!(paths.files(&name()).is_locked().unwrap());
        link_former_runs(&paths).unwrap();
        create_for_running(&paths, &paths.files(&name())).unwrap();
        assert!(former.lock().exists() && paths.files(&name()).is_locked().unwrap());
        drop(lock);
        assert!(!paths.files(&name()).is_locked().unwrap());
        create(&paths, &paths.files(&name())).unwrap();
        assert!(paths.files(&name()).try_lock().unwrap().is_some(), "a later run");
        assert!(!former.lock().exists());
        drop(former.try_lock().unwrap());
        link_former_runs(&paths).unwrap();
        assert!(!former.lock().exists(), "its run is over");
    }
}
