//! Checks whether the kernel would execute a program: the file exists, the service's user may execute it, and the
//! kernel accepts its first bytes. No program is run. A program is accepted if the check is not possible.

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
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The number of bytes of a program that the kernel examines.
const HEAD_BYTES: usize = 256;
/// The maximum depth of scripts whose interpreters are scripts.
const MAX_SCRIPTS: usize = 4;
/// The maximum length of a loader's path.
const MAX_LOADER_BYTES: usize = 4096;
/// The maximum number of program headers that are read.
const MAX_HEADERS: usize = 64;
/// The magic bytes of a binary.
const ELF: &[u8] = b"\x7fELF";
/// The directory of further executable formats of the kernel.
const FORMATS: &str = "/proc/sys/fs/binfmt_misc";

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
    fn check_script(&self, rest: &[u8], path: &Path, name: &str, scripts: usize) -> Result<(), ProgramObstacle> {
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

fn head(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut head = vec![0; HEAD_BYTES];
    let read = file.read_at(&mut head, 0)?;
    head.truncate(read);
    Ok((file, head))
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

/// The machine of an ELF header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ElfKind {
    class: u8,
    order: u8,
    is_program: bool,
    machine: u16,
}

impl ElfKind {
    fn from_header(head: &[u8]) -> Option<Self> {
        if head.len() < 52 {
            return None;
        }
        let (class, order) = (head[4], head[5]);
        let number = |at: usize| match order {
            2 => u16::from_be_bytes([head[at], head[at + 1]]),
            _ => u16::from_le_bytes([head[at], head[at + 1]]),
        };
        Some(Self { class, order, is_program: matches!(number(16), 2 | 3), machine: number(18) })
    }

    /// The machine that this program was built for.
    fn ours() -> Option<Self> {
        static OURS: OnceLock<Option<ElfKind>> = OnceLock::new();
        *OURS.get_or_init(|| Self::from_header(&head(Path::new("/proc/self/exe")).ok()?.1))
    }

    fn is_program(self) -> bool {
        self.is_program
    }

    /// Whether this machine can execute binaries of the other one.
    fn may_run(self, other: Self) -> bool {
        matches!((self.machine, other.machine), (X86_64, X86_64 | X86) | (AARCH64, AARCH64 | ARM))
            || self.machine == other.machine
    }

    fn machine(self) -> String {
        match self.machine {
            X86 => "x86".to_owned(),
            X86_64 => "x86-64".to_owned(),
            ARM => "ARM".to_owned(),
            AARCH64 => "AArch64".to_owned(),
            243 => "RISC-V".to_owned(),
            number => format!("a machine with the number {number}"),
        }
    }
}

const X86: u16 = 3;
const ARM: u16 = 40;
const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// Whether the kernel knows further executable formats.
fn knows_other_formats() -> bool {
    let entries = std::fs::read_dir(FORMATS).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name != "register" && name != "status")
}

/// The minimum length of a little-endian file: up to the end of its last loaded segment, see `elf(5)`. The kernel
/// does not read the rest.
fn needed_bytes(file: &File, head: &[u8]) -> io::Result<u64> {
    let (is_64, is_little) = (head[4] == 2, head[5] == 1);
    if !is_little {
        return Ok(0);
    }
    if is_64 && head.len() < 64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let half = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let word = |bytes: &[u8], at: usize| match is_64 {
        true => number(bytes, at),
        false => number(bytes, at) & u64::from(u32::MAX),
    };
    // `e_phoff`, `e_phentsize`, `e_phnum`, and `p_offset`, `p_filesz` of an entry.
    let [table, entry_size, count, offset, length] =
        if is_64 { [32, 54, 56, 8, 32] } else { [28, 42, 44, 4, 16] };
    let (table, entry_size) = (word(head, table), half(entry_size));
    let mut needed = 0;
    for nth in 0..half(count).min(MAX_HEADERS as u64) {
        let mut header = [0; 56];
        let header = &mut header[..if is_64 { 56 } else { 32 }];
        file.read_exact_at(header, table.saturating_add(entry_size * nth))?;
        if header[..4] == LOADED.to_le_bytes() {
            needed = needed.max(word(header, offset).saturating_add(word(header, length)));
        }
    }
    Ok(needed)
}

/// The type of a segment that is loaded.
const LOADED: u32 = 1;

/// The dynamic loader of a program, for 64-bit little-endian files; `None` without one.
fn loader(file: &File, head: &[u8]) -> io::Result<Option<PathBuf>> {
    if head[4] != 2 || head[5] != 1 {
        return Ok(None);
    }
    let head: &[u8; 64] = head.first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    let start = number(head, 32);
    let count = usize::from(u16::from_le_bytes([head[56], head[57]])).min(MAX_HEADERS);
    for nth in 0..count {
        let mut header = [0; 56];
        file.read_exact_at(&mut header, start.saturating_add(56 * nth as u64))?;
        if header[..4] != 3_u32.to_le_bytes() {
            continue;
        }
        let length = usize::try_from(number(&header, 32)).unwrap_or(usize::MAX).min(MAX_LOADER_BYTES);
        let mut path = vec![0; length];
        file.read_exact_at(&mut path, number(&header, 8))?;
        let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
        return Ok(Some(PathBuf::from(OsStr::from_bytes(&path[..end]))));
    }
    Ok(None)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied();
    u64::from_le_bytes(bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests;
