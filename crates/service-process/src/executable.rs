//! Checks whether the kernel would execute a program: the file exists, the service's user may execute it, and the
//! kernel accepts its first bytes. No program is run. A program is accepted if the check is not possible.

use super::elf::{ELF, ElfKind, head, knows_other_formats, loader, needed_bytes};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, Gid, Uid, access, faccessat, geteuid, setfsgid, setfsuid};
use service_shim::access::{closed_directory, closed_directory_for};
use service_shim::protocol::Identity;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The maximum depth of scripts whose interpreters are scripts.
const MAX_SCRIPTS: usize = 4;

/// The directories of a search for a program, and the user that executes it.
pub(super) struct ProgramSearch<'a> {
    /// The working directory of the service.
    pub(super) directory: &'a Path,
    /// The directories of `PATH`; `None` if unknown.
    pub(super) path: Option<OsString>,
    /// The user that executes the program; `None` for the daemon's own.
    pub(super) identity: Option<&'a Identity>,
}

/// Why a program would not be executed, with a remedy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProgramObstacle {
    pub(super) why: String,
    pub(super) help: String,
    /// Whether the program is missing.
    pub(super) is_missing: bool,
}

fn refusal(why: impl Into<String>, help: impl Into<String>) -> ProgramObstacle {
    ProgramObstacle { why: why.into(), help: help.into(), is_missing: false }
}

fn missing(why: String, help: &str) -> ProgramObstacle {
    ProgramObstacle { is_missing: true, ..refusal(why, help) }
}

impl ProgramSearch<'_> {
    /// Checks whether the kernel would execute this program. An unknown answer is not an error.
    pub(super) fn check(&self, name: &str) -> Result<(), ProgramObstacle> {
        match self.find_allowed(name)? {
            Some(path) => self.check_image(&path, name, MAX_SCRIPTS),
            None => Ok(()),
        }
    }

    /// Like [`ProgramSearch::check`], for a command that the daemon runs: the C library may run a file without a `#!` line as
    /// a shell script.
    pub(super) fn check_command(&self, name: &str) -> Result<(), ProgramObstacle> {
        match self.find_allowed(name)? {
            Some(path) if head(&path).is_ok_and(|(_, head)| has_format(&head)) => {
                self.check_image(&path, name, MAX_SCRIPTS)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The program, if the service's user may execute it; `None` if that is unknown.
    fn find_allowed(&self, name: &str) -> Result<Option<PathBuf>, ProgramObstacle> {
        if !name.contains('/') && self.path.is_none() {
            return Ok(None);
        }
        let program = self.find(name)?;
        let path: PathBuf = self.directory.join(&program).components().collect();
        if self.may_execute(&program) {
            return Ok(Some(path));
        }
        let user = self.identity.map_or("", |identity| &identity.name);
        let why = format!("program `{name}` cannot be executed by user `{user}`");
        Err(
            match self
                .identity
                .filter(|_| program.is_absolute())
                .and_then(|identity| closed_directory_for(&program, identity))
            {
                Some(directory) => {
                    let directory = directory.display();
                    refusal(
                        format!("{why}: the user may not enter `{directory}`"),
                        format!("allow `{user}` to enter `{directory}`, or move the program"),
                    )
                }
                None => refusal(why, format!("allow `{user}` to execute `{}`", path.display())),
            },
        )
    }

    /// Searches like the shim and like a shell, which skip files in `PATH` that are not executable.
    fn find(&self, name: &str) -> Result<PathBuf, ProgramObstacle> {
        let candidates: Vec<PathBuf> = match &self.path {
            Some(path) if !name.contains('/') => {
                std::env::split_paths(path).map(|directory| directory.join(name)).collect()
            }
            _ => vec![PathBuf::from(name)],
        };
        let found = |path: &&PathBuf| is_executable(&self.directory.join(path));
        if let Some(program) = candidates.iter().find(found) {
            return Ok(program.clone());
        }
        let mut there =
            candidates.iter().map(|path| self.directory.join(path).components().collect::<PathBuf>());
        let there = there.find(|path| path.exists());
        let written = self.directory.join(name);
        let closed = if name.contains('/') { closed_directory(&written) } else { None };
        Err(match there {
            None if let Some(directory) = closed => refusal(
                format!(
                    "program `{name}` cannot be examined: permission denied at `{}`",
                    directory.display()
                ),
                "allow the user of the daemon to enter the directory, or name a program elsewhere",
            ),
            Some(path) if path.is_dir() => {
                refusal(format!("program `{name}` is a directory"), "name a program in it")
            }
            Some(path) => refusal(
                format!("program `{name}` is not executable"),
                format!("run `chmod +x {}`", path.display()),
            ),
            None if name.contains('/') => missing(
                format!("program `{name}` does not exist"),
                "build or install it, or correct the path",
            ),
            None => missing(
                format!("program `{name}` is not in PATH"),
                "install it, write its full path, or set PATH in `env`",
            ),
        })
    }

    /// Whether the service's user may execute this file, which the daemon's user may execute.
    fn may_execute(&self, program: &Path) -> bool {
        match self.identity {
            Some(identity) if geteuid().is_root() && identity.uid != 0 => {
                // The shim enters the working directory before it switches to the user, so the user needs no permission
                // on it.
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                match open(self.directory, flags, Mode::empty()) {
                    Ok(directory) => as_user(identity, || is_allowed(&directory, program)),
                    Err(_) => as_user(identity, || is_allowed(AT_FDCWD, program)),
                }
            }
            _ => true,
        }
    }

    /// Checks the first bytes of a file. `name` is the program in the error.
    fn check_image(&self, path: &Path, name: &str, scripts: usize) -> Result<(), ProgramObstacle> {
        // An executable file need not be readable.
        let Ok((file, head)) = head(path) else { return Ok(()) };
        if let Some(rest) = head.strip_prefix(b"#!") {
            return self.check_script(rest, path, name, scripts);
        }
        if head.is_empty() {
            return Err(refusal(
                format!("program `{name}` is empty"),
                format!("create `{}` again", path.display()),
            ));
        }
        if head.starts_with(ELF) || ELF.starts_with(&head) {
            return self.check_binary(&file, &head, name);
        }
        if head.starts_with(b"\xef\xbb\xbf#!") {
            return Err(refusal(
                format!(
                    "program `{name}` begins with a byte order mark, so the kernel ignores its `#!` line"
                ),
                "save it as UTF-8 without the mark",
            ));
        }
        if knows_other_formats() {
            return Ok(());
        }
        let why = format!(
            "program `{name}` is neither a binary for this machine nor a script: it has no `#!` line"
        );
        let help = "build it for this machine, or begin it with a `#!` line";
        Err(refusal(why, help))
    }

    /// Checks a script. `rest` is the text after the `#!`.
    fn check_script(
        &self,
        rest: &[u8],
        path: &Path,
        name: &str,
        scripts: usize,
    ) -> Result<(), ProgramObstacle> {
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = trim_blanks(line);
        let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
        let (interpreter, argument) = (&line[..end], trim_blanks(&line[end..]));
        let correct = format!("correct the first line of `{}`, or install its interpreter", path.display());
        if interpreter.is_empty() {
            return Err(refusal(format!("the first line of program `{name}` names no interpreter"), correct));
        }
        let written = Path::new(OsStr::from_bytes(interpreter));
        let found = self.directory.join(written);
        let shown = String::from_utf8_lossy(interpreter).escape_debug().to_string();
        if !found.exists() {
            let why = format!("the interpreter `{shown}` of program `{name}` does not exist");
            return Err(match interpreter.ends_with(b"\r") {
                true => windows_line_ends(&why, path),
                false => refusal(why, correct),
            });
        }
        if !is_executable(&found) || !self.may_execute(written) {
            return Err(refusal(
                format!("the interpreter `{shown}` of program `{name}` cannot be executed"),
                correct,
            ));
        }
        if written.file_name() == Some(OsStr::new("env"))
            && let Some(program) = env_program(argument)
            && (program.contains('/') || self.path.is_some())
            && self.find(&program).is_err()
        {
            let shown = program.escape_debug();
            let why = format!("the interpreter `{shown}` of program `{name}` is not in PATH");
            return Err(match program.ends_with('\r') {
                true => windows_line_ends(&why, path),
                false => refusal(why, correct),
            });
        }
        if scripts == 0 { Ok(()) } else { self.check_image(&found, name, scripts - 1) }
    }

    fn check_binary(&self, file: &File, head: &[u8], name: &str) -> Result<(), ProgramObstacle> {
        let cut = || {
            let why = format!("program `{name}` is truncated");
            refusal(why, "it is being written, or is incomplete: build or copy it again")
        };
        let kind = ElfKind::from_header(head).ok_or_else(cut)?;
        if !kind.is_program() {
            return Err(refusal(
                format!("program `{name}` is an object file"),
                "link it, or name the linked program",
            ));
        }
        match needed_bytes(file, head).and_then(|needed| Ok(needed > file.metadata()?.len())) {
            Ok(false) => {}
            Ok(true) => return Err(cut()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(cut()),
            Err(_) => return Ok(()),
        }
        let ours = ElfKind::ours();
        if ours.is_none_or(|ours| ours != kind) {
            // Binaries of other machines may be executed by an emulator.
            let is_foreign = ours.is_some_and(|ours| !ours.may_run(kind));
            if !is_foreign || knows_other_formats() {
                return Ok(());
            }
            let why = format!("program `{name}` is built for {}, not for this machine", kind.machine());
            return Err(refusal(why, "build it for this machine"));
        }
        match loader(file, head) {
            Ok(Some(loader)) if !self.directory.join(&loader).exists() => {
                let why = format!("the loader `{}` of program `{name}` does not exist", loader.display());
                Err(refusal(why, "install its C library, or build it for the installed one"))
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(cut()),
            Err(_) => Ok(()),
        }
    }
}

/// Whether the first bytes identify the format of a program.
fn has_format(head: &[u8]) -> bool {
    head.is_empty() || head.starts_with(b"#!") || head.starts_with(ELF)
}

fn windows_line_ends(why: &str, path: &Path) -> ProgramObstacle {
    let why = format!("{why}: its first line ends with a carriage return");
    refusal(why, format!("convert it to Unix line ends: `sed -i 's/\\r$//' {}`", path.display()))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

fn is_allowed(directory: impl AsFd, program: &Path) -> bool {
    faccessat(directory, program, AccessFlags::X_OK, AtFlags::AT_EACCESS) != Err(Errno::EACCES)
}

/// Asks the kernel as another user, in a thread that ends afterwards.
fn as_user(identity: &Identity, ask: impl FnOnce() -> bool + Send) -> bool {
    let become_it = || {
        // If the groups of the thread cannot be changed, the answer would be wrong.
        if set_groups(&identity.groups).is_err() {
            return true;
        }
        setfsgid(Gid::from_raw(identity.gid));
        setfsuid(Uid::from_raw(identity.uid));
        ask()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, become_it);
        thread.ok().and_then(|thread| thread.join().ok()).unwrap_or(true)
    })
}

/// Changes the groups of this thread only. The C library's function changes the groups of the whole process.
#[expect(unsafe_code, reason = "no safe function changes a single thread")]
fn set_groups(groups: &[u32]) -> nix::Result<()> {
    // SAFETY: the kernel reads `groups.len()` numbers from the slice, and changes only the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    Errno::result(result).map(drop)
}

fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The program that `env` runs with this single argument; `None` for options and assignments.
fn env_program(argument: &[u8]) -> Option<String> {
    let argument = str::from_utf8(argument).ok()?;
    let words = argument.strip_prefix("-S").or_else(|| argument.strip_prefix("--split-string="));
    let program = match words {
        Some(words) => words.split_ascii_whitespace().next()?,
        None => argument,
    };
    let is_simple =
        !program.is_empty() && !program.starts_with(['-', '"', '\'', '$']) && !program.contains('=');
    is_simple.then(|| program.to_owned())
}

#[cfg(test)]
mod tests;
