//! [`Project`]: the selected `services.toml`, and the files of its daemon.
//!
//! A daemon and its clients compute the same paths from the same environment. If their environments differ (a shell
//! without `XDG_RUNTIME_DIR`, for example), the record in the daemon's state directory decides: see
//! [`Project::record`].
//!
//! The path of a project is the path of its file. Symbolic links in its directories are resolved; a link in place of
//! the file itself is not. If the file was deleted, the project exists as long as its state directory ([`gone`]), so
//! that running services can be stopped.

pub mod gone;

pub use crate::environment::{Environment, home_directory, states, system_home};
use crate::file_names::FOLDER;
pub use crate::file_names::{FILE, LOCK, NOTE, RECORD};

use crate::ownership::foreign_directory;
use crate::problem::{Code, Problem};
use crate::trust::may_be_used;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The content of a new `services.toml` in the user's own directory.
const OWN: &str = "# Services outside any project: `service run` and `service add` use this file.\n";
/// The maximum length of a socket's path: the 108 bytes of `sun_path`, with a reserve.
const MAX_SOCKET_PATH_BYTES: usize = 100;

/// One project: its file, the daemon's state directory and the daemon's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The absolute path of `services.toml`. Symbolic links in its directories are resolved.
    pub config: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The socket of the daemon.
    pub socket: PathBuf,
    /// The required hash of the file's content, if the file may be used only because this content is trusted.
    pub trusted_hash: Option<String>,
}

/// The first line of `orchestratord run` on standard output, also written to its state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartupMessage {
    /// The daemon listens.
    Ready {
        /// The process id.
        pid: u32,
        /// The socket.
        socket: PathBuf,
    },
    /// Another daemon of this project runs.
    #[serde(rename = "taken")]
    AlreadyRunning,
    /// The daemon cannot run, for this reason.
    Failed(Problem),
}

impl Project {
    /// Finds the project: `config` if given, else `$SERVICES_CONFIG`, else the nearest `services.toml` in the current
    /// directory or its parents, else the user's own in `$XDG_CONFIG_HOME/service-orchestrator/`. A deleted file in a
    /// parent counts as long as its daemon or its services run.
    ///
    /// # Errors
    /// [`Code::NoProject`] if there is no file, or if the named file does not exist and has no state directory;
    /// [`Code::UntrustedFile`] if the found file belongs to another user, or others can write to it; [`Code::Internal`]
    /// if neither `HOME` nor `XDG_STATE_HOME` is set.
    pub fn find(config: Option<&Path>, around: &Environment<'_>) -> Result<Self, Problem> {
        let named = config.map(PathBuf::from).or_else(|| around.named());
        let is_here = around.cwd.is_dir();
        let Some(named) = named else {
            let found = upward(around, is_here).or_else(|| users_own(around).filter(|_| is_here));
            return match found {
                Some(path) => Self::from_found_file(&path, around),
                None if is_here => Err(no_project(around.cwd)),
                None => Err(gone::directory(around.cwd)),
            };
        };
        if named.is_relative() && !is_here {
            return Err(gone::directory(around.cwd));
        }
        Self::at(&around.cwd.join(named), around)
    }

    /// The project of `services.toml` in the user's own directory. A missing file is created without services. For
    /// commands that need no existing file, if [`Project::find`] has found none.
    ///
    /// # Errors
    /// [`Code::NoProject`] if the file cannot be written.
    pub fn users_own(around: &Environment<'_>) -> Result<Self, Problem> {
        let cannot = |why: &dyn fmt::Display| {
            Problem::new(Code::NoProject, format!("cannot create a services.toml: {why}"))
        };
        let directory = around
            .home("XDG_CONFIG_HOME", ".config")
            .ok_or_else(|| cannot(&"neither HOME nor XDG_CONFIG_HOME is set"))?
            .join(FOLDER);
        if let Some(why) = foreign_directory(&directory, around.uid) {
            return Err(cannot(&why));
        }
        std::fs::create_dir_all(&directory).map_err(|error| cannot(&error))?;
        let path = directory.join(FILE);
        match File::options().write(true).create_new(true).open(&path) {
            Ok(mut file) => file.write_all(OWN.as_bytes()).map_err(|error| cannot(&error))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot(&error)),
        }
        Self::from_found_file(&path, around)
    }

    /// The project of a file that was found by a search.
    fn from_found_file(path: &Path, around: &Environment<'_>) -> Result<Self, Problem> {
        // A deleted file needs no trust: its running services can only be stopped.
        let trusted_hash = if gone::is_there(path) { may_be_used(path, around)? } else { None };
        Ok(Self { trusted_hash, ..Self::at(path, around)? })
    }

    /// The project of the existing file `path`, or of the `services.toml` in the directory `path`.
    pub fn at(path: &Path, around: &Environment<'_>) -> Result<Self, Problem> {
        let inside = path.join(FILE);
        let candidates = if path.is_dir() { [inside.as_path(), path] } else { [path, inside.as_path()] };
        if let Some(file) = candidates.into_iter().find(|file| gone::is_there(file)) {
            return Self::from_file(gone::settled(file), around);
        }
        for file in candidates {
            let project = Self::from_file(gone::settled(file), around)?;
            if project.state_dir.is_dir() {
                return Ok(project);
            }
        }
        let [file, _] = candidates;
        let error = std::fs::metadata(file).err().unwrap_or_else(|| ErrorKind::IsADirectory.into());
        Err(Problem::new(Code::NoProject, format!("cannot read `{}`: {error}", file.display()))
            .help("name an existing file with `--config`, or create one here"))
    }

    /// The project of a file, which need not exist.
    fn from_file(config: PathBuf, around: &Environment<'_>) -> Result<Self, Problem> {
        let slug = slug(&config);
        let state_dir = states(around)?.join(&slug);
        let socket = runtime_dir(around, &slug).join(format!("{slug}.sock"));
        Ok(Self { config, state_dir, socket, trusted_hash: None })
    }

    /// The file with the running daemon's [`StartupMessage::Ready`]. The file names the socket, whose path may depend
    /// on the daemon's environment.
    pub fn record(&self) -> PathBuf {
        self.state_dir.join(RECORD)
    }

    /// The file with the path of the project's file, which the name of the state directory does not contain.
    pub fn path_note(&self) -> PathBuf {
        self.state_dir.join(NOTE)
    }

    /// The file that marks the services of a login or a boot as started. The file is beside the socket, in a directory
    /// that is deleted with the session.
    pub fn session_mark(&self) -> PathBuf {
        self.socket.with_extension("session")
    }

    /// The fallback for `state.json` while the state directory cannot be written.
    pub fn fallback_state_file(&self) -> PathBuf {
        self.socket.with_extension("state.json")
    }

    /// The daemon's own log.
    pub fn log(&self) -> PathBuf {
        self.state_dir.join("orchestratord.log")
    }
}

/// The nearest project in the current directory or its parents. In a deleted directory, only a deleted project is
/// found.
fn upward(around: &Environment<'_>, is_here: bool) -> Option<PathBuf> {
    let mut files = around.cwd.ancestors().map(|dir| dir.join(FILE)).filter(|_| around.cwd.is_absolute());
    let left = |file: &PathBuf| {
        let project = Project::from_file(gone::settled(file), around).ok()?;
        (!gone::is_there(file) && project.state_dir.is_dir()).then_some(project.state_dir)
    };
    let lives = |state_dir: PathBuf| gone::has_daemon(&state_dir) || (around.runs)(&state_dir);
    files.find(|file| (is_here && gone::is_there(file)) || left(file).is_some_and(lives))
}

fn users_own(around: &Environment<'_>) -> Option<PathBuf> {
    let path = around.home("XDG_CONFIG_HOME", ".config")?.join(FOLDER).join(FILE);
    path.is_file().then_some(path)
}

fn no_project(cwd: &Path) -> Problem {
    let here = cwd.join(FILE);
    if here.is_dir() {
        return Problem::new(Code::NoProject, format!("`{}` is a directory, not a file", here.display()))
            .help(format!(
                "rename it, then run `service init`, which writes a {FILE} here; or name one with `--config`"
            ));
    }
    Problem::new(Code::NoProject, format!("no {FILE} in `{}` or above it", cwd.display())).help(format!(
        "`service init` writes a {FILE} here; or name one with `--config` or $env.SERVICES_CONFIG"
    ))
}

/// The directory of the socket: below `$XDG_RUNTIME_DIR`; if this is unset or too long for a `sockaddr_un`, a private
/// directory in `/tmp`.
fn runtime_dir(around: &Environment<'_>, slug: &str) -> PathBuf {
    let fits = |dir: &PathBuf| {
        dir.as_os_str().len() + slug.len() + "/.sock".len() <= MAX_SOCKET_PATH_BYTES
            && dir.parent().is_some_and(Path::is_dir)
    };
    around
        .dir("XDG_RUNTIME_DIR")
        .map(|dir| dir.join(FOLDER))
        .filter(fits)
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/{FOLDER}-{}", around.uid)))
}

/// Directories in memory for the files of runs, the best one first: `$XDG_RUNTIME_DIR`, and `/dev/shm`.
pub fn memory_directories(around: &Environment<'_>) -> Vec<PathBuf> {
    let session = around.dir("XDG_RUNTIME_DIR").filter(|dir| dir.is_dir()).map(|dir| dir.join(FOLDER));
    let shared = PathBuf::from(format!("/dev/shm/{FOLDER}-{}", around.uid));
    session.into_iter().chain([shared]).collect()
}

/// A readable and unique name: the directory's name and a hash of the path.
fn slug(config: &Path) -> String {
    let folder = config.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let readable: String =
        folder.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(20).collect();
    let hash = fnv1a(config.as_os_str().as_encoded_bytes());
    format!("{readable}-{hash:016x}")
}

/// FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>. Used for names of directories, not for security.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn find(config: Option<&str>, cwd: &Path, env: &[(&str, &str)]) -> Result<Project, Problem> {
        let get =
            |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Project::find(config.map(Path::new), &Environment { env: &get, cwd, uid: uid(), runs: &|_| false })
    }

    fn uid() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    #[test]
    fn the_nearest_file_upward_is_the_project() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(dir.path().join(FILE), "").unwrap();
        let project = find(None, &deep, &[("HOME", "/home/me")]).unwrap();
        assert_eq!(project.config, dir.path().join(FILE).canonicalize().unwrap());
        assert!(project.state_dir.starts_with("/home/me/.local/state/service-orchestrator"));
    }

    #[test]
    fn a_named_file_that_is_missing_is_not_replaced_by_another() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "").unwrap();
        let problem = find(Some("other.toml"), dir.path(), &[("HOME", "/h")]).unwrap_err();
        assert_eq!(problem.code, Code::NoProject);
    }

    #[test]
    fn a_link_is_a_project_of_its_own_and_a_linked_directory_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("shared.toml"), "").unwrap();
        std::fs::create_dir(root.join("one")).unwrap();
        std::os::unix::fs::symlink(root.join("shared.toml"), root.join("one").join(FILE)).unwrap();
        std::os::unix::fs::symlink(root.join("one"), root.join("two")).unwrap();
        let one = find(None, &root.join("one"), &[("HOME", "/h")]).unwrap();
        assert_eq!(one.config, root.join("one").join(FILE));
        assert_eq!(find(None, &root.join("two"), &[("HOME", "/h")]).unwrap(), one);
        assert_eq!(find(Some("two"), &root, &[("HOME", "/h")]).unwrap(), one);
        assert_eq!(find(Some("one/../two/services.toml"), &root, &[("HOME", "/h")]).unwrap(), one);
        assert_ne!(find(Some("shared.toml"), &root, &[("HOME", "/h")]).unwrap(), one);
    }

    #[test]
    fn a_project_that_is_gone_is_found_by_its_path_while_its_state_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let home = root.join("home");
        let env = [("HOME", home.to_str().unwrap())];
        std::fs::create_dir_all(root.join("outer/inner")).unwrap();
        let file = root.join("outer/inner").join(FILE);
        std::fs::write(&file, "").unwrap();
        let here = find(None, &root.join("outer/inner"), &env).unwrap();
        std::fs::create_dir_all(&here.state_dir).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(find(Some("outer/inner"), &root, &env).unwrap(), here);
        std::fs::create_dir(&file).unwrap();
        assert_eq!(find(Some("outer/inner"), &root, &env).unwrap(), here, "a directory is in its place");
        std::fs::remove_dir_all(root.join("outer/inner")).unwrap();
        for path in [file.as_path(), Path::new("outer/inner"), Path::new("outer/inner/services.toml")] {
            assert_eq!(find(path.to_str(), &root, &env).unwrap(), here);
        }
        let problem = find(Some("outer/other.toml"), &root, &env).unwrap_err();
        assert!(problem.message.contains("No such file"), "{problem:?}");

        let get = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        let upward = |cwd: &Path, runs: bool| {
            Project::find(None, &Environment { env: &get, cwd, uid: uid(), runs: &|_| runs })
        };
        let inner = root.join("outer/inner");
        assert_eq!(upward(&inner, true).unwrap(), here, "from where it was");
        assert!(upward(&inner, false).unwrap_err().message.contains("the current directory is gone"));
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(root.join("outer").join(FILE), "").unwrap();
        assert_eq!(upward(&inner, true).unwrap(), here);
        assert_eq!(upward(&inner, false).unwrap().config, root.join("outer").join(FILE));
    }

    #[test]
    fn from_a_directory_that_is_gone_only_a_whole_path_leads_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        std::fs::write(&file, "").unwrap();
        for gone in [dir.path().join("gone"), PathBuf::new()] {
            for named in [None, Some("services.toml"), Some("../services.toml")] {
                let problem = find(named, &gone, &[("HOME", "/h")]).unwrap_err();
                assert_eq!(problem.code, Code::NoProject);
                assert!(problem.message.starts_with("the current directory is gone"), "{problem:?}");
            }
            assert!(find(file.to_str(), &gone, &[("HOME", "/h")]).is_ok());
            assert!(
                find(None, &gone, &[("HOME", "/h"), ("SERVICES_CONFIG", file.to_str().unwrap())]).is_ok()
            );
        }
    }

    #[test]
    fn a_socket_path_always_fits() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "").unwrap();
        let long = dir.path().join("x".repeat(80));
        std::fs::create_dir(&long).unwrap();
        let project =
            find(None, dir.path(), &[("HOME", "/h"), ("XDG_RUNTIME_DIR", long.to_str().unwrap())]).unwrap();
        assert!(project.socket.starts_with(format!("/tmp/service-orchestrator-{}", uid())));
        assert!(project.socket.as_os_str().len() <= MAX_SOCKET_PATH_BYTES);
    }
}
