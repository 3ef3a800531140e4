//! [`foreign`]: whether another user controls a `services.toml`. A file that was found by a search is used only if no
//! other user can have written it, because it defines commands to run. Git has the same rule for its own files
//! (`safe.directory`).
//!
//! `nu/service-http/ownership.nu` implements the same rule in Nushell; `tests/tests/security/ownership.rs` tests both
//! against one table.

use crate::file_names::{FILE, FOLDER};
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use std::fmt;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The write bit of the group in a file mode.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// The maximum length of a chain of symbolic links.
const MAX_LINKS: usize = 40;

/// The other user, apart from root, who can have written this file or can replace it; `None` if there is none.
///
/// For a symbolic link, each link of the chain and its directory are checked too.
pub fn foreign(file: &Path, uid: u32) -> Option<String> {
    let mut path = file.to_path_buf();
    for _ in 0..MAX_LINKS {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new(".")).to_path_buf();
        // An inaccessible file cannot be read either, so the attempt to read it reports the error.
        let inside = std::fs::metadata(&directory).ok()?;
        if let Some(why) = find_risk(&inside, uid) {
            return Some(why.about(Some(&directory)));
        }
        let found = std::fs::symlink_metadata(&path).ok()?;
        if found.is_symlink() {
            if found.uid() != uid && found.uid() != 0 {
                return Some(Risk::Belongs(found.uid()).about((path != file).then_some(&path)));
            }
            path = directory.join(std::fs::read_link(&path).ok()?);
        } else if found.is_dir() {
            path = path.join(FILE);
        } else {
            return find_risk(&found, uid).map(|why| why.about((path != file).then_some(&path)));
        }
    }
    Some("too many links lead to it".to_owned())
}

/// Why the owner or the mode of a file or directory is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Risk {
    /// The owner is this other user.
    Belongs(u32),
    /// The mode allows others to write.
    Writable,
}

impl Risk {
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

/// The name of a user, or the number of a user without a name.
fn user(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// A world-writable directory with the sticky bit is acceptable: its files cannot be replaced by others.
fn find_risk(found: &std::fs::Metadata, uid: u32) -> Option<Risk> {
    let (owner, mode) = (found.uid(), found.mode());
    if owner != uid && owner != 0 {
        return Some(Risk::Belongs(owner));
    }
    if found.is_dir() && mode & STICKY != 0 {
        return None;
    }
    let by_group = mode & GROUP_WRITES != 0 && !is_private_group(found.gid(), owner);
    (by_group || mode & OTHERS_WRITE != 0).then_some(Risk::Writable)
}

/// Whether a group is the private group of a user, as on many systems: it has the user's name and no other member.
fn is_private_group(gid: u32, owner: u32) -> bool {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    let user = User::from_uid(Uid::from_raw(owner)).ok().flatten();
    let (Some(group), Some(user)) = (group, user) else { return false };
    group.name == user.name && group.mem.iter().all(|member| *member == user.name)
}

/// The other user who can create this directory; `None` if there is none.
pub(crate) fn foreign_directory(directory: &Path, uid: u32) -> Option<String> {
    let found = directory.ancestors().find_map(|place| Some((place, std::fs::metadata(place).ok()?)));
    let (place, found) = found?;
    find_risk(&found, uid).map(|why| why.about(Some(&place.to_path_buf())))
}

/// Why a directory is not used, and the next step.
#[derive(Debug)]
struct UntrustedPath {
    why: String,
    remedy: String,
}

impl fmt::Display for UntrustedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for UntrustedPath {}

/// The remedy for an error of [`private_dir`].
pub(crate) fn remedy(error: &io::Error) -> Option<&str> {
    Some(&error.get_ref()?.downcast_ref::<UntrustedPath>()?.remedy)
}

/// The remedy for `place`, a parent of `target`. The remedy never removes a home directory or the runtime directory of
/// a login.
fn remedy_for(why: Risk, place: &Path, target: &Path) -> String {
    // The socket is directly in this program's directory; the state is below it.
    let variable = if target.ends_with(FOLDER) { "XDG_RUNTIME_DIR" } else { "XDG_STATE_HOME" };
    match why {
        Risk::Writable => format!("run `chmod go-w '{}'`", place.display()),
        Risk::Belongs(_) if place.starts_with(target) => {
            format!("make it your own with `chown`, or set ${variable} to a directory of your own")
        }
        Risk::Belongs(_) => {
            format!("unset ${variable}, or set it to a directory of your own; HOME must be your own as well")
        }
    }
}

/// Creates a directory that only its user may enter, with its parents, and returns it opened. The mode of an existing
/// directory is restricted to its user. A directory is refused if it belongs to another user, contains files of another
/// user, or can be replaced by another user.
///
/// # Errors
/// A message for the user if the directory cannot be trusted, or the error of creating it.
pub fn private_dir(path: &Path) -> io::Result<File> {
    let uid = geteuid().as_raw();
    let refused = |why: Risk, place: &Path| {
        let refusal = UntrustedPath {
            why: why.about(Some(&place.to_path_buf())),
            remedy: remedy_for(why, place, path),
        };
        io::Error::new(io::ErrorKind::PermissionDenied, refusal)
    };
    let exists = |path: &&Path| std::fs::symlink_metadata(path).is_ok();
    for place in path.ancestors().skip(1).filter(exists).take(2) {
        if let Some(why) = find_risk(&std::fs::metadata(place)?, uid) {
            return Err(refused(why, place));
        }
    }
    for link in path.ancestors() {
        if let Ok(found) = std::fs::symlink_metadata(link)
            && found.is_symlink()
            && found.uid() != uid
            && found.uid() != 0
        {
            return Err(refused(Risk::Belongs(found.uid()), link));
        }
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let open = |path: &Path| File::options().read(true).custom_flags(flags.bits()).open(path);
    let directory = match open(path) {
        // The link belongs to the same user, as verified above.
        Err(_) if path.is_symlink() => open(&path.canonicalize()?)?,
        // The directory was created under a umask that denies its owner access.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
            open(path)?
        }
        opened => opened?,
    };
    let found = directory.metadata()?;
    if found.uid() != uid {
        return Err(refused(Risk::Belongs(found.uid()), path));
    }
    if found.mode() & 0o777 != 0o700 {
        directory.set_permissions(Permissions::from_mode(0o700))?;
    }
    // From here on no other user can create files in the directory.
    for entry in std::fs::read_dir(path)?.flatten() {
        if let Ok(owner) = entry.metadata().map(|found| found.uid())
            && owner != uid
        {
            return Err(refused(Risk::Belongs(owner), &entry.path()));
        }
    }
    Ok(directory)
}

/// Reads a regular file of at most `max_bytes`. A pipe, a device or an endless file is an error at once.
///
/// # Errors
/// The error of reading the file; [`io::ErrorKind::InvalidInput`] if it is not regular, [`io::ErrorKind::FileTooLarge`]
/// if it is too large.
pub fn read_regular(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let regular = |found: &std::fs::Metadata| match found.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    };
    // Opening some devices has side effects, so the type is checked first. The open does not block if a pipe replaces
    // the file meanwhile.
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
