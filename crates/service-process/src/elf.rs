//! ELF binaries: the machine of a header, the minimum length of a file, and its dynamic loader.

use nix::libc;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The number of bytes of a program that the kernel examines.
const HEAD_BYTES: usize = 256;
/// The maximum length of a loader's path.
const MAX_LOADER_BYTES: usize = 4096;
/// The maximum number of program headers that are read.
const MAX_HEADERS: usize = 64;
/// The magic bytes of a binary.
pub(super) const ELF: &[u8] = b"\x7fELF";
/// The directory of further executable formats of the kernel.
const FORMATS: &str = "/proc/sys/fs/binfmt_misc";

/// The first bytes of a program that the kernel examines.
pub(super) fn head(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut head = vec![0; HEAD_BYTES];
    let read = file.read_at(&mut head, 0)?;
    head.truncate(read);
    Ok((file, head))
}

/// The machine of an ELF header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ElfKind {
    class: u8,
    order: u8,
    is_program: bool,
    machine: u16,
}

impl ElfKind {
    pub(super) fn from_header(head: &[u8]) -> Option<Self> {
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
    pub(super) fn ours() -> Option<Self> {
        static OURS: OnceLock<Option<ElfKind>> = OnceLock::new();
        *OURS.get_or_init(|| Self::from_header(&head(Path::new("/proc/self/exe")).ok()?.1))
    }

    pub(super) fn is_program(self) -> bool {
        self.is_program
    }

    /// Whether this machine can execute binaries of the other one.
    pub(super) fn may_run(self, other: Self) -> bool {
        matches!((self.machine, other.machine), (X86_64, X86_64 | X86) | (AARCH64, AARCH64 | ARM))
            || self.machine == other.machine
    }

    pub(super) fn machine(self) -> String {
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
pub(super) fn knows_other_formats() -> bool {
    let entries = std::fs::read_dir(FORMATS).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name != "register" && name != "status")
}

/// The minimum length of a little-endian file: up to the end of its last loaded segment, see `elf(5)`. The kernel
/// does not read the rest.
pub(super) fn needed_bytes(file: &File, head: &[u8]) -> io::Result<u64> {
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
pub(super) const LOADED: u32 = 1;

/// The dynamic loader of a program, for 64-bit little-endian files; `None` without one.
pub(super) fn loader(file: &File, head: &[u8]) -> io::Result<Option<PathBuf>> {
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
