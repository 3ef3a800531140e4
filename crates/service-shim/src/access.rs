//! Finds the first directory of a path that a user may not enter: the reason why a program cannot be reached.

use crate::protocol::Identity;
use nix::unistd::{AccessFlags, access};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory that this process may not enter, so that it cannot know whether the file exists.
pub fn closed_directory(path: &Path) -> Option<PathBuf> {
    let is_unknown = path.try_exists().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    let closed = || first_closed(path, |directory| access(directory, AccessFlags::X_OK).is_ok());
    is_unknown.then(closed).flatten()
}

/// The first directory above the path whose mode denies entry to this user.
pub fn closed_directory_for(path: &Path, identity: &Identity) -> Option<PathBuf> {
    first_closed(path, |directory| directory.metadata().is_ok_and(|found| may_enter(&found, identity)))
}

fn may_enter(directory: &Metadata, identity: &Identity) -> bool {
    let is_in_group = directory.gid() == identity.gid || identity.groups.contains(&directory.gid());
    let bit = if directory.uid() == identity.uid {
        0o100
    } else if is_in_group {
        0o010
    } else {
        0o001
    };
    identity.uid == 0 || directory.mode() & bit != 0
}

fn first_closed(path: &Path, may_enter: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    // A relative path begins in the current directory, which the process has already entered.
    let mut directories: Vec<&Path> =
        path.ancestors().skip(1).filter(|path| *path != Path::new("")).collect();
    directories.reverse();
    let closed = directories.into_iter().find(|directory| directory.exists() && !may_enter(directory))?;
    closed.is_dir().then(|| closed.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_directory_that_a_user_may_not_enter_is_found() {
        let place = tempfile::tempdir().unwrap();
        let closed = place.path().join("closed");
        std::fs::create_dir_all(closed.join("below")).unwrap();
        std::fs::set_permissions(place.path(), Permissions::from_mode(0o711)).unwrap();
        std::fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        let owner = closed.metadata().unwrap().uid();
        let of = |uid: u32| Identity { uid, gid: uid, groups: vec![uid], name: "x".into(), home: "/".into() };
        let program = closed.join("below/program");
        assert_eq!(closed_directory_for(&program, &of(owner + 1)).as_deref(), Some(&*closed));
        assert_eq!(closed_directory_for(&program, &of(owner)), None);
        assert_eq!(closed_directory_for(&place.path().join("program"), &of(owner + 1)), None);
    }
}
