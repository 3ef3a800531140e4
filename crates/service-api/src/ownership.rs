//! [`foreign`]: whose file a `services.toml` is. One that was found, and not named, is used only where nobody else can
//! have written it, because it says what runs here. Git has the same rule for its own (`safe.directory`).
//!
//! `nu/service-http/ownership.nu` is the same rule for Nushell; `tests/tests/security/ownership.rs` holds both against one table.

use crate::file_names::{FILE, FOLDER};
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use std::fmt;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bits of a mode.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// How many links may lead from one to the next.
const MAX_LINKS: usize = 40;

/// Who else than this user and root can have written this file, or can put another in its place; `None` if nobody can.
///
/// Where it is a link, each link on the way and its directory are asked about as well.
pub fn foreign(file: &Path, uid: u32) -> Option<String> {
    let mut path = file.to_path_buf();
    for _ in 0..MAX_LINKS {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new(".")).to_path_buf();
        // What cannot be looked at cannot be read either, and that is told where it is tried.
        let inside = std::fs::metadata(&directory).ok()?;
        if let Some(why) = suspicion(&inside, uid) {
            return Some(why.about(Some(&directory)));
        }
        let found = std::fs::symlink_metadata(&path).ok()?;
        if found.is_symlink() {
            if found.uid() != uid && found.uid() != 0 {
                return Some(Suspicion::Belongs(found.uid()).about((path != file).then_some(&path)));
            }
            path = directory.join(std::fs::read_link(&path).ok()?);
        } else if found.is_dir() {
            path = path.join(FILE);
        } else {
            return suspicion(&found, uid).map(|why| why.about((path != file).then_some(&path)));
        }
    }
    Some("too many links lead to it".to_owned())
}

/// What is wrong with who has a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suspicion {
    /// It is this user's.
    Belongs(u32),
    /// Its mode lets others write.
    Writable,
}

impl Suspicion {
    fn about(self, place: Option<&PathBuf>) -> String {
        match (self, place) {
            (Self::Belongs(uid), None) => format!("it belongs to user {}", user(uid)),
            (Self::Belongs(uid), Some(place)) => {
                format!("`{}` belongs to user {}", place.display(), user(uid))
            }
            (Self::Writable, None) => "others can write to it".to_owned(),
            (Self::Writable, Some(place)) => format!("others can write to `{}`", place.display()),
        }
    }
}

/// The name of a user, or the number of one that has none.
fn user(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// A directory in which everybody may write, but nobody may replace what is another's, is no danger to what is in it.
fn suspicion(found: &std::fs::Metadata, uid: u32) -> Option<Suspicion> {
    let (owner, mode) = (found.uid(), found.mode());
    if owner != uid && owner != 0 {
        return Some(Suspicion::Belongs(owner));
    }
    if found.is_dir() && mode & STICKY != 0 {
        return None;
    }
    let by_group = mode & GROUP_WRITES != 0 && !is_private_group(found.gid(), owner);
    (by_group || mode & OTHERS_WRITE != 0).then_some(Suspicion::Writable)
}

/// Whether a group is that of its owner alone, as many systems give one to each user: it has the user's name, and nobody
/// else is in it.
fn is_private_group(gid: u32, owner: u32) -> bool {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    let user = User::from_uid(Uid::from_raw(owner)).ok().flatten();
    let (Some(group), Some(user)) = (group, user) else { return false };
    group.name == user.name && group.mem.iter().all(|member| *member == user.name)
}

/// Who else can put something where this directory is to be; `None` if nobody can.
pub(crate) fn foreign_directory(directory: &Path, uid: u32) -> Option<String> {
    let found = directory.ancestors().find_map(|place| Some((place, std::fs::metadata(place).ok()?)));
    let (place, found) = found?;
    suspicion(&found, uid).map(|why| why.about(Some(&place.to_path_buf())))
}

/// Why a directory is not used, and the next step.
#[derive(Debug)]
struct Refusal {
    why: String,
    remedy: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Refusal {}

/// The next step for an error of [`private_dir`] that says whose a directory is.
pub(crate) fn remedy(error: &io::Error) -> Option<&str> {
    Some(&error.get_ref()?.downcast_ref::<Refusal>()?.remedy)
}

/// What to do about `place`, on the way to `target`. What may be a home or the directory of a login is never to be removed.
fn remedy_for(why: Suspicion, place: &Path, target: &Path) -> String {
    // The socket lies in the directory of this program itself, state below it.
    let variable = if target.ends_with(FOLDER) { "XDG_RUNTIME_DIR" } else { "XDG_STATE_HOME" };
    match why {
        Suspicion::Writable => format!("run `chmod go-w '{}'`", place.display()),
        Suspicion::Belongs(_) if place.starts_with(target) => {
            format!("make it your own with `chown`, or set ${variable} to a directory of your own")
        }
        Suspicion::Belongs(_) => {
            format!("unset ${variable}, or set it to a directory of your own; HOME must be your own as well")
        }
    }
}

/// Makes a directory that only its user may enter, with those above it, and gives it open. One that is there is closed to
/// others; one that belongs to somebody else, in which something does, or that somebody else could put another in the place
/// of, is not used.
///
/// # Errors
/// In words where it cannot be trusted, else those of making it.
pub fn private_dir(path: &Path) -> io::Result<File> {
    let uid = geteuid().as_raw();
    let refused = |why: Suspicion, place: &Path| {
        let refusal =
            Refusal { why: why.about(Some(&place.to_path_buf())), remedy: remedy_for(why, place, path) };
        io::Error::new(io::ErrorKind::PermissionDenied, refusal)
    };
    let exists = |path: &&Path| std::fs::symlink_metadata(path).is_ok();
    for place in path.ancestors().skip(1).filter(exists).take(2) {
        if let Some(why) = suspicion(&std::fs::metadata(place)?, uid) {
            return Err(refused(why, place));
        }
    }
    for link in path.ancestors() {
        if let Ok(found) = std::fs::symlink_metadata(link)
            && found.is_symlink()
            && found.uid() != uid
            && found.uid() != 0
        {
            return Err(refused(Suspicion::Belongs(found.uid()), link));
        }
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let open = |path: &Path| File::options().read(true).custom_flags(flags.bits()).open(path);
    let directory = match open(path) {
        // A link of one's own, as the look above has found.
        Err(_) if path.is_symlink() => open(&path.canonicalize()?)?,
        // One that was made under a mask that takes everything away.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
            open(path)?
        }
        opened => opened?,
    };
    let found = directory.metadata()?;
    if found.uid() != uid {
        return Err(refused(Suspicion::Belongs(found.uid()), path));
    }
    if found.mode() & 0o777 != 0o700 {
        directory.set_permissions(Permissions::from_mode(0o700))?;
    }
    // From here on nobody else can put anything there.
    for entry in std::fs::read_dir(path)?.flatten() {
        if let Ok(owner) = entry.metadata().map(|found| found.uid())
            && owner != uid
        {
            return Err(refused(Suspicion::Belongs(owner), &entry.path()));
        }
    }
    Ok(directory)
}

/// Reads a regular file of at most so many bytes. A pipe, a device or a file without end is an error at once.
///
/// # Errors
/// Those of reading it; [`io::ErrorKind::InvalidInput`] for what is no regular file,
/// [`io::ErrorKind::FileTooLarge`] for what is too large.
pub fn read_regular(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let regular = |found: &std::fs::Metadata| match found.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    };
    // To open some devices does something already; and a pipe that was put there meanwhile keeps nobody waiting.
    regular(&std::fs::metadata(path)?)?;
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max_bytes {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {} MiB", max_bytes >> 20),
        )),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read_regular(&file, 5).unwrap(), b"12345");
        assert_eq!(read_regular(&file, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        for irregular in [dir.path(), Path::new("/dev/zero")] {
            let said = read_regular(irregular, 5).unwrap_err().to_string();
            assert_eq!(said, "it is not a regular file");
        }
    }
}
