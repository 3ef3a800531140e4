//! [`Disk`]: files that survive a power failure, although no writer waits for the disk.
//!
//! A written file is synced [`SYNC_DELAY`] later, by a thread that exists only while work is pending. Before the sync,
//! a power failure may leave an empty file, a truncated file, or zeros. [`Disk::replace`] therefore keeps the last
//! synced version beside the file until the new one is synced, and every JSON line has a checksum
//! ([`append_checksum`]). [`Disk::read`] uses the newest intact version, and reports damaged ones.
//!
//! Data survives a power failure once `SYNC_DELAY` and one sync have passed since its write.

use crate::clock;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The delay between a write and its sync.
const SYNC_DELAY: Duration = Duration::from_secs(2);
/// The prefix of a line's checksum, and its length including the checksum.
const CHECKSUM_PREFIX: &[u8] = b",\"crc\":\"";
const CHECKSUM_BYTES: usize = CHECKSUM_PREFIX.len() + "01234567\"}".len();

/// The pending files of one project. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    // A lock and not a task, because the engine writes and must not wait. The lock is held only for a lookup.
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    dirty: BTreeSet<PathBuf>,
    /// Files that were never synced under their name, with the number of the replacement that created them.
    unsynced: BTreeMap<PathBuf, u64>,
    replacements: u64,
    /// Whether the sync thread runs.
    active: bool,
    /// Whether a caller waits for the sync.
    urgent: bool,
    damage: Vec<String>,
}

impl Disk {
    /// Replaces a file atomically, readable by its owner alone.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        drop(file);
        if !self.lock().unsynced.contains_key(path) {
            let previous = previous(path);
            let mut linked = std::fs::hard_link(path, &previous);
            if linked.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
                let _ = std::fs::remove_file(&previous);
                linked = std::fs::hard_link(path, &previous);
            }
            // If there is no file, the previous version stays. Without support for hard links, no previous version is
            // kept.
            if linked.is_ok() {
                self.mark(&previous);
            }
        }
        std::fs::rename(aside, path)?;
        let mut pending = self.lock();
        pending.replacements += 1;
        let number = pending.replacements;
        pending.unsynced.insert(path.to_owned(), number);
        drop(pending);
        self.mark(path);
        Ok(())
    }

    /// Marks a file for the next sync.
    pub fn mark(&self, path: &Path) {
        let mut pending = self.lock();
        if !pending.dirty.contains(path) {
            pending.dirty.insert(path.to_owned());
        }
        if std::mem::replace(&mut pending.active, true) {
            return;
        }
        drop(pending);
        let shared = Arc::clone(&self.0);
        let thread =
            std::thread::Builder::new().name("sync".to_owned()).spawn(move || shared.sync_until_clean());
        if let Err(error) = thread {
            self.lock().active = false;
            tracing::warn!(%error, "cannot sync files to the disk; a power failure may lose them");
        }
    }

    /// Syncs all pending files now, and waits for at most `limit`.
    pub fn finish(&self, limit: Duration) {
        let deadline = clock::now().plus(limit);
        let mut pending = self.lock();
        pending.urgent = true;
        self.0.changed.notify_all();
        while pending.active {
            let left = deadline.since(clock::now());
            if left.is_zero() {
                tracing::warn!("the disk is too slow; a power failure may lose the last writes");
                return;
            }
            let woken = self.0.changed.wait_timeout(pending, left);
            (pending, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads the newest version of a file that `parse` accepts; `None` without any. A rejected version is set aside and
    /// reported as damage.
    ///
    /// # Errors
    /// The file cannot be read. The file stays in place, because the cause may be temporary, such as a lack of
    /// descriptors.
    pub fn read<T>(&self, path: &Path, parse: impl Fn(&[u8]) -> io::Result<T>) -> io::Result<Option<T>> {
        let (found, error) = newest(path, &parse)?;
        let Some(error) = error else {
            // A former daemon may have been killed before the sync of the file.
            File::open(path).and_then(|file| file.sync_data()).or_else(ignore_missing)?;
            return Ok(found);
        };
        let aside = with_suffix(path, ".unreadable");
        let moved = std::fs::rename(path, &aside).or_else(ignore_missing);
        let (shown, aside) = (path.display(), aside.display());
        tracing::error!(%error, path = %shown, %aside, ?moved, "cannot read a file; set it aside");
        let used = if found.is_some() { "used the previous version" } else { "its content is lost" };
        self.lock().damage.push(format!("`{shown}` was damaged ({error}): {used}"));
        Ok(found)
    }

    /// Descriptions of the damage found so far.
    pub fn damage(&self) -> Vec<String> {
        self.lock().damage.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Syncs until no file is pending.
    fn sync_until_clean(&self) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        while !pending.dirty.is_empty() {
            let waited = self.changed.wait_timeout_while(pending, SYNC_DELAY, |pending| !pending.urgent);
            (pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let (dirty, unsynced) = (std::mem::take(&mut pending.dirty), pending.unsynced.clone());
            drop(pending);
            sync(&dirty);
            pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            // A file that was replaced during the sync stays pending, because the old or the new version may have been
            // opened.
            pending
                .unsynced
                .retain(|path, number| !dirty.contains(path) || unsynced.get(path) != Some(number));
        }
        pending.active = false;
        self.changed.notify_all();
    }
}

/// Syncs the files, then their directories.
fn sync(paths: &BTreeSet<PathBuf>) {
    let directories: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    let files = paths.iter().map(|path| (path.as_path(), File::open(path).and_then(|file| file.sync_data())));
    let all = files.chain(
        directories
            .into_iter()
            .map(|path| (path, File::open(path).and_then(|directory| directory.sync_all()))),
    );
    for (path, synced) in all {
        if let Err(error) = synced.or_else(ignore_missing) {
            tracing::warn!(%error, path = %path.display(), "cannot sync a file to the disk; a power failure may lose it");
        }
    }
}

/// Like [`Disk::read`], but a damaged file stays in place.
pub fn peek<T>(path: &Path, parse: impl Fn(&[u8]) -> io::Result<T>) -> Option<T> {
    read_if_present(path, parse).ok().flatten()
}

/// Like [`peek`], with an error for an unreadable file.
pub fn read_if_present<T>(path: &Path, parse: impl Fn(&[u8]) -> io::Result<T>) -> io::Result<Option<T>> {
    Ok(newest(path, &parse)?.0)
}

/// Writes and syncs a small file. A file with the same content is not written.
pub fn write_now(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let aside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(aside, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// The content of the newest intact version, and why a newer one is damaged.
///
/// # Errors
/// A version cannot be read, so the content is unknown.
fn newest<T>(
    path: &Path,
    parse: &impl Fn(&[u8]) -> io::Result<T>,
) -> io::Result<(Option<T>, Option<io::Error>)> {
    let read = |path: &Path| match std::fs::read(path) {
        Ok(bytes) => Ok(Some(parse(&bytes))),
        Err(error) => ignore_missing(error).map(|()| None),
    };
    let error = match read(path)? {
        Some(Ok(found)) => return Ok((Some(found), None)),
        Some(Err(error)) => Some(error),
        None => None,
    };
    let found = read(&previous(path))?.and_then(Result::ok);
    let missing = || io::Error::from(ErrorKind::NotFound);
    let error = error.or_else(|| found.is_some().then(missing));
    Ok((found, error))
}

/// Adds a checksum to a JSON object, as its last member: `{"a":1}` becomes `{"a":1,"crc":"…"}`.
pub fn append_checksum(mut object: Vec<u8>) -> Vec<u8> {
    if object.len() > 2 && object.pop_if(|last| *last == b'}').is_some() {
        let checksum = crc32fast::hash(&object);
        object.extend(CHECKSUM_PREFIX);
        object.extend(format!("{checksum:08x}\"}}").as_bytes());
    }
    object
}

/// Whether the checksum of a line is right. A line without a checksum, from an older version, is accepted.
pub fn is_whole(line: &[u8]) -> bool {
    let Some(start) = line.len().checked_sub(CHECKSUM_BYTES) else { return true };
    let (object, end) = line.split_at(start);
    let Some(checksum) = end.strip_prefix(CHECKSUM_PREFIX).and_then(|end| end.strip_suffix(b"\"}")) else {
        return true;
    };
    let checksum = std::str::from_utf8(checksum).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
    checksum == Some(crc32fast::hash(object))
}

/// The value of a line with a right checksum.
pub fn verify_checksum<T: serde::de::DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    if !is_whole(line) {
        return Err(io::Error::new(ErrorKind::InvalidData, "its checksum is wrong"));
    }
    Ok(serde_json::from_slice(line)?)
}

fn previous(path: &Path) -> PathBuf {
    with_suffix(path, ".1")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> io::Result<u64> {
        #[derive(serde::Deserialize)]
        struct Numbered {
            n: u64,
        }
        Ok(verify_checksum::<Numbered>(bytes)?.n)
    }

    fn sealed(n: u64) -> Vec<u8> {
        append_checksum(format!("{{\"n\":{n}}}").into_bytes())
    }

    #[test]
    fn a_line_that_is_not_as_it_was_written_is_found_out() {
        let line = sealed(17);
        assert_eq!(number(&line).unwrap(), 17);
        assert_eq!(number(b"{\"n\":18}").unwrap(), 18, "a former version");
        for at in 0..line.len() {
            let mut changed = line.clone();
            changed[at] = 0;
            assert!(number(&changed).is_err(), "{}", String::from_utf8_lossy(&changed));
            assert!(number(&line[..at]).is_err());
        }
        assert!(number(&[&line[..], b"\0\0"].concat()).is_err());
    }

    #[test]
    fn whatever_becomes_of_a_new_version_the_one_on_the_disk_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        let disk = Disk::default();
        assert_eq!(disk.read(&path, number).unwrap(), None);
        disk.replace(&path, &sealed(1)).unwrap();
        disk.finish(Duration::from_mins(1));
        disk.replace(&path, &sealed(2)).unwrap();
        disk.replace(&path, &sealed(3)).unwrap();
        assert_eq!(peek(&path, number), Some(3));
        for damaged in [&b""[..], &[0; 30], &sealed(3)[..9]] {
            std::fs::write(&path, damaged).unwrap();
            let disk = Disk::default();
            assert_eq!(disk.read(&path, number).unwrap(), Some(1), "the synced version");
            assert!(disk.damage()[0].contains("used the previous version"), "{:?}", disk.damage());
        }
        std::fs::write(previous(&path), b"").unwrap();
        std::fs::write(&path, b"").unwrap();
        let disk = Disk::default();
        assert_eq!(disk.read(&path, number).unwrap(), None);
        assert!(disk.damage()[0].contains("its content is lost"), "{:?}", disk.damage());
        std::fs::remove_file(previous(&path)).unwrap();
        assert_eq!(Disk::default().read(&path, number).unwrap(), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_a_damaged_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        Disk::default().replace(&path, &sealed(1)).unwrap();
        let aside = directory.path().join("y.json");
        std::fs::rename(&path, &aside).unwrap();
        // A directory can be opened, but not read.
        std::fs::create_dir(&path).unwrap();
        let disk = Disk::default();
        assert!(disk.read(&path, number).is_err());
        assert!(path.is_dir() && disk.damage().is_empty(), "{:?}", disk.damage());
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(disk.read(&path, number).unwrap(), Some(1));
    }

    #[test]
    fn a_file_is_brought_to_the_disk_and_nobody_stays_to_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        let disk = Disk::default();
        disk.replace(&path, &sealed(1)).unwrap();
        assert!(disk.lock().unsynced.contains_key(&path));
        disk.finish(Duration::from_mins(1));
        let pending = disk.lock();
        assert!(!pending.active && pending.dirty.is_empty() && pending.unsynced.is_empty());
    }
}
