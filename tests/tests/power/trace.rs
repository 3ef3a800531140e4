//! The file operations of a daemon in its state directory, as traced by `strace`, and the states that a power failure
//! may leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One change of the file system.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A file is opened or created; its content is discarded if it is truncated.
    Open { path: PathBuf, truncate: bool },
    /// Bytes are appended, or written at an offset.
    Write { path: PathBuf, at: Option<usize>, bytes: Vec<u8> },
    /// A file gets this length.
    Resize { path: PathBuf, length: usize },
    /// A name becomes another one.
    Rename { from: PathBuf, to: PathBuf },
    /// A file gets a second name.
    Link { from: PathBuf, to: PathBuf },
    /// A name is removed.
    Remove { path: PathBuf },
    /// A file is synced, or the names in a directory are.
    Sync { path: PathBuf },
}

/// A change, and when it was made, in seconds since the epoch.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    pub(crate) at: f64,
    pub(crate) change: Change,
}

/// The part of unsynced bytes that a file system retains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    All,
    Half,
    Nothing,
    Zeros,
}

/// The contents of a directory, by relative name.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Every change below `directory` in the traces, in order.
pub(crate) fn read(traces: &Path, directory: &Path) -> Vec<Timed> {
    let mut all: Vec<Timed> = Vec::new();
    for file in fs::read_dir(traces).expect("there are traces").flatten() {
        let text = fs::read_to_string(file.path()).expect("a trace is text");
        all.extend(text.lines().filter_map(|line| timed(line, directory)));
    }
    all.sort_by(|one, other| one.at.total_cmp(&other.at));
    all
}

fn timed(line: &str, directory: &Path) -> Option<Timed> {
    let (at, call) = line.split_once(' ')?;
    let (call, result) = call.rsplit_once(" = ")?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let (name, arguments) = call.trim_end().strip_suffix(')')?.split_once('(')?;
    let arguments: Vec<&str> = arguments.split(", ").collect();
    let text = |written: &str| String::from_utf8(bytes(written)).ok();
    // strace writes a descriptor with its path.
    let opened = |at: usize| below(&text(arguments.get(at)?.split_once('<')?.1)?, directory);
    let written = |at: usize| below(&text(arguments.get(at)?)?, directory);
    let number = |at: usize| arguments.get(at)?.parse::<usize>().ok();
    let change = match name {
        "openat" if arguments.get(2)?.contains("O_CREAT") || arguments[2].contains("O_TRUNC") => {
            Change::Open { path: written(1)?, truncate: arguments[2].contains("O_TRUNC") }
        }
        "write" => Change::Write { path: opened(0)?, at: None, bytes: bytes(arguments.get(1)?) },
        "pwrite64" => {
            Change::Write { path: opened(0)?, at: Some(number(3)?), bytes: bytes(arguments.get(1)?) }
        }
        "ftruncate" => Change::Resize { path: opened(0)?, length: number(1)? },
        "rename" => Change::Rename { from: written(0)?, to: written(1)? },
        "renameat" | "renameat2" => Change::Rename { from: written(1)?, to: written(3)? },
        "link" => Change::Link { from: written(0)?, to: written(1)? },
        "linkat" => Change::Link { from: written(1)?, to: written(3)? },
        "unlink" => Change::Remove { path: written(0)? },
        "unlinkat" => Change::Remove { path: written(1)? },
        "fsync" | "fdatasync" => Change::Sync { path: opened(0)? },
        _ => return None,
    };
    Some(Timed { at: at.parse().ok()?, change })
}

fn below(path: &str, directory: &Path) -> Option<PathBuf> {
    Path::new(path.trim_end_matches(" (deleted)")).strip_prefix(directory).ok().map(Path::to_path_buf)
}

/// A string as `strace -xx` writes it: `"\x61\x62"`.
fn bytes(written: &str) -> Vec<u8> {
    let hex = written.split("\\x").skip(1);
    hex.map(|digits| u8::from_str_radix(&digits[..2], 16).expect("strace writes every byte in hexadecimal"))
        .collect()
}

/// A file: its content, and the synced part of it.
#[derive(Debug, Clone, Default)]
struct Inode {
    data: Vec<u8>,
    synced: Vec<u8>,
}

/// The contents after these changes, with this part of the unsynced bytes; and with all names, or only synced ones.
pub(crate) fn left(changes: &[Timed], keeps: Keeps, all_names: bool) -> Files {
    let mut inodes: Vec<Inode> = Vec::new();
    let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut synced_names = names.clone();
    for Timed { change, .. } in changes {
        match change {
            Change::Open { path, truncate } => {
                let inode = *names.entry(path.clone()).or_insert_with(|| {
                    inodes.push(Inode::default());
                    inodes.len() - 1
                });
                if *truncate {
                    inodes[inode].data.clear();
                }
            }
            Change::Write { path, at, bytes } => {
                let Some(inode) = names.get(path) else { continue };
                let data = &mut inodes[*inode].data;
                let at = at.unwrap_or(data.len());
                data.resize(data.len().max(at + bytes.len()), 0);
                data[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Change::Resize { path, length } => {
                if let Some(inode) = names.get(path) {
                    inodes[*inode].data.resize(*length, 0);
                }
            }
            Change::Rename { from, to } => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Change::Link { from, to } => {
                if let Some(inode) = names.get(from) {
                    names.insert(to.clone(), *inode);
                }
            }
            Change::Remove { path } => drop(names.remove(path)),
            Change::Sync { path } => match names.get(path) {
                Some(inode) => inodes[*inode].synced = inodes[*inode].data.clone(),
                // The path is a directory, so the names of its files are synced now.
                None => synced_names = names.clone(),
            },
        }
    }
    let names = if all_names { names } else { synced_names };
    names.into_iter().map(|(path, inode)| (path, inodes[inode].after(keeps))).collect()
}

impl Inode {
    fn after(&self, keeps: Keeps) -> Vec<u8> {
        let from = self.synced.len().min(self.data.len());
        match keeps {
            Keeps::All => self.data.clone(),
            Keeps::Nothing => self.synced.clone(),
            Keeps::Half => self.data[..from + (self.data.len() - from) / 2].to_vec(),
            Keeps::Zeros => {
                let mut left = self.data.clone();
                left[from..].fill(0);
                left
            }
        }
    }
}

/// The highest number of an event that was written to the journal by then, synced or not.
pub(crate) fn last_event(changes: &[Timed]) -> u64 {
    let mut highest = 0;
    for Timed { change, .. } in changes {
        let Change::Write { path, bytes, .. } = change else { continue };
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal.")) {
            for line in bytes.split(|byte| *byte == b'\n') {
                let event: Option<serde_json::Value> = serde_json::from_slice(line).ok();
                highest = highest.max(event.and_then(|event| event["seq"].as_u64()).unwrap_or(0));
            }
        }
    }
    highest
}
