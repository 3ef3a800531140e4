//! [`Environment`]: the variables, the directory and the user of a process that searches for its project.

use crate::file_names::FOLDER;
use crate::problem::{Code, Problem};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment of a search.
pub struct Environment<'a> {
    /// Reads an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The current directory, which may have been deleted.
    pub cwd: &'a Path,
    /// The user's id.
    pub uid: u32,
    /// Whether services of the project with this state directory run. Called only if the project's file was deleted.
    pub runs: &'a dyn Fn(&Path) -> bool,
}

impl Environment<'_> {
    /// An absolute path from an environment variable. Relative paths are ignored, as the XDG specification requires.
    pub(crate) fn dir(&self, variable: &str) -> Option<PathBuf> {
        (self.env)(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// The file that `$SERVICES_CONFIG` names; an empty variable counts as unset.
    pub fn named(&self) -> Option<PathBuf> {
        (self.env)("SERVICES_CONFIG").filter(|named| !named.is_empty()).map(PathBuf::from)
    }

    pub(crate) fn home(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        self.dir(variable).or_else(|| self.dir("HOME").map(|home| home.join(below_home)))
    }
}

/// The home directory of a user: `$HOME`, otherwise the one in the user database. An empty variable or a relative path
/// counts as unset, as the XDG base directory specification requires.
pub fn home_directory(
    variable: Option<OsString>,
    system: impl FnOnce() -> Option<OsString>,
) -> Option<OsString> {
    variable.filter(|home| Path::new(home).is_absolute()).or_else(system)
}

/// The home directory of this user in the user database, for [`home_directory`].
pub fn system_home() -> Option<OsString> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten()?;
    Some(user.dir.into())
}

/// The parent of the state directories of all projects of this user.
///
/// # Errors
/// [`Code::Internal`] if neither `HOME` nor `XDG_STATE_HOME` is set.
pub fn states(around: &Environment<'_>) -> Result<PathBuf, Problem> {
    let state_home = around.home("XDG_STATE_HOME", ".local/state").ok_or_else(|| {
        Problem::new(
            Code::Internal,
            "cannot find the state directory: neither HOME nor XDG_STATE_HOME is set",
        )
        .help("set XDG_STATE_HOME to a directory of your own")
    })?;
    Ok(state_home.join(FOLDER))
}
