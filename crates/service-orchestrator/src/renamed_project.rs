//! [`Place`]: the identity of a project's directory, independent of its path. The daemon saves it in the state
//! directory. A later daemon can therefore distinguish a renamed directory from a deleted directory and from an
//! unmounted disk.

use serde::{Deserialize, Serialize};
use service_api::project::{NOTE, Project};
use service_api::{Code, Problem};
use service_core::Name;
use service_host::fs::write_private;
use service_process::liveness;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// The name of the file in the state directory.
const FILE: &str = "place.json";

/// The properties of a directory that a rename preserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    device: u64,
    inode: u64,
    /// The creation time in nanoseconds, because inode numbers are reused.
    born: Option<u64>,
}

/// The presence of a project's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePresence {
    /// The file exists.
    Present,
    /// The file was deleted, and its disk is mounted.
    Gone,
    /// The file cannot be read.
    Unknown,
}

impl FilePresence {
    /// The name in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }

    /// Checks the file of the project with this state directory.
    pub fn check(file: &Path, state_dir: &Path) -> Self {
        match std::fs::metadata(file) {
            // A directory in place of the file counts as deleted. A pipe counts as present, and reading it reports the
            // error.
            Ok(found) if found.is_dir() => Self::Gone,
            Ok(_) => Self::Present,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                if is_disk_there(file, state_dir) {
                    Self::Gone
                } else {
                    Self::Unknown
                }
            }
            Err(_) => Self::Unknown,
        }
    }
}

/// Whether the nearest existing parent lies on the disk of the project. If that disk was never recorded, `/` alone is
/// not sufficient.
fn is_disk_there(file: &Path, state_dir: &Path) -> bool {
    let nearest = file.ancestors().skip(1).find_map(|above| Some((above, std::fs::metadata(above).ok()?)));
    let Some((nearest, found)) = nearest else { return false };
    match Place::read(state_dir) {
        Ok(Some(place)) => place.device == found.dev(),
        Ok(None) => nearest != Path::new("/"),
        Err(_) => false,
    }
}

impl Place {
    fn identify(directory: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(directory)?;
        let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|born| u64::try_from(born.as_nanos()).ok());
        Ok(Self { device: found.dev(), inode: found.ino(), born })
    }

    /// The recorded identity, if any.
    fn read(state_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(state_dir.join(FILE)) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why the saved identity of this state directory's project cannot be read; `None` if it can.
pub fn unreadable(state_dir: &Path) -> Option<String> {
    let error = Place::read(state_dir).err()?;
    Some(format!("cannot read `{}`: {error}", state_dir.join(FILE).display()))
}

/// A project that used the directory under its former path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former {
    /// The former path of the project's file.
    pub config: PathBuf,
    state_dir: PathBuf,
}

/// Detects renames of a project's directory, and its former paths.
#[derive(Debug, Default)]
pub struct Renames {
    /// A blocking mutex suffices: it is held while a few files are read, never across an await.
    last: Mutex<Option<(Stamp, Vec<Former>)>>,
}

/// The properties of a directory that a rename changes.
type Stamp = (Place, i64, i64);

/// Which services run under a former path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Running {
    /// These services run.
    These(Vec<String>),
    /// Unknown, for this reason.
    Unknown(String),
}

impl Renames {
    /// The former projects of this directory with services that run or may run, each with these services.
    pub fn running(&self, project: &Project) -> Vec<(Former, Running)> {
        let former = self.former(project).unwrap_or_default();
        let running = |former: Former| {
            let running = match liveness::supervised(&former.state_dir, liveness::boot().as_deref()) {
                Ok(names) if names.is_empty() => return None,
                Ok(names) => Running::These(names.iter().map(Name::to_string).collect()),
                Err(error) => Running::Unknown(error.to_string()),
            };
            Some((former, running))
        };
        former.into_iter().filter_map(running).collect()
    }

    /// The former projects of this directory. The last result is valid until a rename changes the directory.
    fn former(&self, project: &Project) -> io::Result<Vec<Former>> {
        let directory = project.config.parent().unwrap_or(Path::new("/"));
        let (place, found) = (Place::identify(directory)?, std::fs::metadata(directory)?);
        let stamp = (place, found.ctime(), found.ctime_nsec());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((before, former)) if *before == stamp => Ok(former.clone()),
            _ => {
                write_down(&project.state_dir, place);
                let former = search(project, place);
                *last = Some((stamp, former.clone()));
                Ok(former)
            }
        }
    }
}

fn write_down(state_dir: &Path, place: Place) {
    if matches!(Place::read(state_dir), Ok(Some(written)) if written == place) {
        return;
    }
    let written = serde_json::to_vec(&place).map_err(io::Error::from);
    if let Err(error) = written.and_then(|json| write_private(&state_dir.join(FILE), &json)) {
        tracing::warn!(%error, "cannot save the identity of the directory");
    }
}

/// Searches for projects that used this directory under another path. The other path no longer leads to this directory.
fn search(project: &Project, place: Place) -> Vec<Former> {
    let states = project.state_dir.parent().unwrap_or(Path::new("/"));
    let others = std::fs::read_dir(states).into_iter().flatten().flatten().map(|entry| entry.path());
    let former = |state_dir: PathBuf| {
        let was_here = matches!(Place::read(&state_dir), Ok(Some(found)) if found == place);
        if state_dir == project.state_dir || !was_here {
            return None;
        }
        let config = PathBuf::from(OsString::from_vec(std::fs::read(state_dir.join(NOTE)).ok()?));
        let leads_here = Place::identify(config.parent()?).is_ok_and(|there| there == place);
        (!leads_here && config.file_name() == project.config.file_name())
            .then_some(Former { config, state_dir })
    };
    others.filter_map(former).collect()
}

/// Refuses to start a service that runs, or may run, under a former path of the directory.
///
/// # Errors
/// [`Code::Moved`] with the former path.
pub fn refuse_second(former: &[(Former, Running)], starting: &[&Name]) -> Result<(), Problem> {
    for (former, running) in former {
        let config = former.config.display();
        let starting = starting.iter().map(|name| &***name);
        let place = format!("as a service of `{config}`, where this directory was before it was renamed");
        let (twice, why, help): (Vec<&str>, _, _) = match running {
            Running::These(names) => (
                starting.filter(|name| names.iter().any(|running| running == name)).collect(),
                format!("it runs {place}"),
                format!("`service down --config {config}` stops the services there; then start it here"),
            ),
            Running::Unknown(why) => (
                starting.collect(),
                format!("unknown whether it runs {place}: {why}"),
                "make that directory readable, then try again".to_owned(),
            ),
        };
        if !twice.is_empty() {
            let message = format!("cannot start {}: {why}", listed(&twice));
            return Err(Problem::new(Code::Moved, message).help(help));
        }
    }
    Ok(())
}

/// The note about running services of a former path.
pub fn note((former, running): &(Former, Running)) -> String {
    let config = former.config.display();
    let before = "where this directory was before it was renamed";
    match running {
        Running::These(names) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (run, them) = match names.len() {
                1 => ("still runs as a service", "it"),
                _ => ("still run as services", "them"),
            };
            let names = listed(&names);
            format!("{names} {run} of `{config}`, {before}; `service down --config {config}` stops {them}")
        }
        Running::Unknown(why) => {
            format!("services of `{config}`, {before}, may still run; their state is unknown: {why}")
        }
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn where_a_former_path_cannot_be_looked_at_nothing_is_started_twice() {
        let states = tempfile::tempdir().unwrap();
        let (directory, state_dir) = (states.path().join("here"), states.path().join("former"));
        let services = state_dir.join("services");
        for directory in [&directory, &services, &services.join("a"), &services.join("b")] {
            std::fs::create_dir_all(directory).unwrap();
        }
        write_down(&state_dir, Place::identify(&directory).unwrap());
        std::fs::write(state_dir.join(NOTE), states.path().join("gone/services.toml").to_str().unwrap())
            .unwrap();
        let project = Project {
            config: directory.join("services.toml"),
            state_dir: states.path().join("state"),
            socket: Path::new("/nowhere").to_owned(),
            trusted_hash: None,
        };
        std::fs::create_dir(&project.state_dir).unwrap();
        let a = Name::new("a").unwrap();
        let renames = Renames::default();
        let refused =
            || refuse_second(&renames.running(&project), &[&a]).err().map(|problem| problem.message);
        assert_eq!(refused(), None);
        std::fs::remove_dir_all(&services).unwrap();
        std::os::unix::fs::symlink(&services, &services).unwrap();
        let why = format!("cannot read `{}`", services.display());
        assert!(refused().is_some_and(|message| message.contains(&why)), "{:?}", refused());
        let notes: Vec<String> = renames.running(&project).iter().map(note).collect();
        assert!(notes[0].contains("may still run") && notes[0].contains(&why), "{notes:?}");
        std::fs::remove_file(&services).unwrap();
        assert_eq!(refused(), None);
    }

    #[test]
    fn one_runs_and_several_run() {
        let former = || Former { config: "/old/services.toml".into(), state_dir: "/state".into() };
        let names = |names: &[&str]| Running::These(names.iter().map(ToString::to_string).collect());
        assert!(note(&(former(), names(&["a"]))).starts_with("`a` still runs as a service of"));
        assert!(note(&(former(), names(&["a", "b"]))).starts_with("`a`, `b` still run as services of"));
    }
}
