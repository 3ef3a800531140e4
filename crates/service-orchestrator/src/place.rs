//! [`Place`]: which directory a project lies in, whatever its path is by now. A daemon writes it into the state directory;
//! so a directory that was renamed is told from one that is gone, and a disk that is not mounted from both.

use crate::host::fs::write_private;
use crate::process::liveness;
use serde::{Deserialize, Serialize};
use service_api::project::{NOTE, Project};
use service_api::{Code, Problem};
use service_core::Name;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// Its name in a state directory.
const FILE: &str = "place.json";

/// A directory by what a rename leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    device: u64,
    inode: u64,
    /// When it was made, in nanoseconds: a number of an inode is used again.
    born: Option<u64>,
}

/// What can be told of the file of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Present,
    /// It is gone, and the disk that it was on is there.
    Gone,
    Unknown,
}

impl Presence {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }

    /// Looks at the file of the project that has this state directory.
    pub(crate) fn of(file: &Path, state_dir: &Path) -> Self {
        match std::fs::metadata(file) {
            // A directory in its place is none. A pipe is one that cannot be used, and says so when it is read.
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

/// Whether the nearest directory upward that is there lies on the disk where the project was. Where that was never written
/// down, `/` alone tells nothing.
fn is_disk_there(file: &Path, state_dir: &Path) -> bool {
    let nearest = file.ancestors().skip(1).find_map(|above| Some((above, std::fs::metadata(above).ok()?)));
    let Some((nearest, found)) = nearest else { return false };
    match Place::read(state_dir) {
        Some(place) => place.device == found.dev(),
        None => nearest != Path::new("/"),
    }
}

impl Place {
    fn of(directory: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(directory)?;
        let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|born| u64::try_from(born.as_nanos()).ok());
        Ok(Self { device: found.dev(), inode: found.ino(), born })
    }

    fn read(state_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(state_dir.join(FILE)).ok()?).ok()
    }
}

/// Services that run under the path that the directory of a project had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Former {
    /// The path of the project then.
    pub(crate) config: PathBuf,
    state_dir: PathBuf,
}

/// Looks whether the directory of a project has been renamed, and what it was called before.
#[derive(Debug, Default)]
pub(crate) struct Renames {
    /// A lock is right here: it is held for a look at a few files, never over an await.
    last: Mutex<Option<(Stamp, Vec<Former>)>>,
}

/// What changes when a directory is renamed.
type Stamp = (Place, i64, i64);

impl Renames {
    /// The former projects of this directory of which services still run, with those.
    pub(crate) fn running(&self, project: &Project) -> Vec<(Former, Vec<String>)> {
        let former = self.former(project).unwrap_or_default();
        former
            .into_iter()
            .map(|former| (former.clone(), liveness::supervised(&former.state_dir)))
            .filter(|(_, kept)| !kept.is_empty())
            .collect()
    }

    /// A rename changes the directory; until it has changed, what was found last is so.
    fn former(&self, project: &Project) -> io::Result<Vec<Former>> {
        let directory = project.config.parent().unwrap_or(Path::new("/"));
        let (place, found) = (Place::of(directory)?, std::fs::metadata(directory)?);
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
    if Place::read(state_dir) == Some(place) {
        return;
    }
    let written = serde_json::to_vec(&place).map_err(io::Error::from);
    if let Err(error) = written.and_then(|json| write_private(&state_dir.join(FILE), &json)) {
        tracing::warn!(%error, "cannot write down which directory this is");
    }
}

/// Other projects that lay in this directory, by a path that does not lead to it any more.
fn search(project: &Project, place: Place) -> Vec<Former> {
    let states = project.state_dir.parent().unwrap_or(Path::new("/"));
    let others = std::fs::read_dir(states).into_iter().flatten().flatten().map(|entry| entry.path());
    let former = |state_dir: PathBuf| {
        if state_dir == project.state_dir || Place::read(&state_dir) != Some(place) {
            return None;
        }
        let config = PathBuf::from(OsString::from_vec(std::fs::read(state_dir.join(NOTE)).ok()?));
        let leads_here = Place::of(config.parent()?).is_ok_and(|there| there == place);
        (!leads_here && config.file_name() == project.config.file_name())
            .then_some(Former { config, state_dir })
    };
    others.filter_map(former).collect()
}

/// Refuses to start what runs already, under the former path of the directory.
pub(crate) fn refuse_second(former: &[(Former, Vec<String>)], starting: &[&Name]) -> Result<(), Problem> {
    for (former, kept) in former {
        let twice: Vec<&str> = starting
            .iter()
            .map(|name| &***name)
            .filter(|name| kept.iter().any(|kept| kept == name))
            .collect();
        if !twice.is_empty() {
            let config = former.config.display();
            return Err(Problem::new(
                Code::Moved,
                format!("cannot start {}: it runs as a service of `{config}`, where this directory was before it was renamed", listed(&twice)),
            )
            .help(format!("`service down --config {config}` stops what runs there; then start it here")));
        }
    }
    Ok(())
}

/// What a person should know who looks at the services of the renamed directory.
pub(crate) fn note((former, kept): &(Former, Vec<String>)) -> String {
    let config = former.config.display();
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    format!(
        "{} still run as services of `{config}`, where this directory was before it was renamed; `service down --config {config}` stops them",
        listed(&kept)
    )
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
