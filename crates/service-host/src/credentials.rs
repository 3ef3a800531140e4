//! The user and the groups that a service runs as.

use nix::errno::Errno;
use nix::unistd::{Group, User, getgrouplist};
use service_core::config::Service;
use service_shim::protocol::Identity;
use std::ffi::CString;
use thiserror::Error;

/// Why a service cannot run as its user or in its group.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A group without a user.
    #[error("`group` needs `user`")]
    GroupAlone,
    /// The user cannot be looked up.
    #[error("user `{name}` cannot be looked up: {error}")]
    UserLookup {
        /// The user.
        name: String,
        /// The cause.
        error: Errno,
    },
    /// There is no such user.
    #[error("user `{name}` does not exist")]
    NoUser {
        /// The user.
        name: String,
    },
    /// The daemon is not root.
    #[error("it should run as `{name}`, and only root can start a process as another user")]
    OtherUser {
        /// The user.
        name: String,
    },
    /// The group cannot be looked up.
    #[error("group `{group}` cannot be looked up: {error}")]
    GroupLookup {
        /// The group.
        group: String,
        /// The cause.
        error: Errno,
    },
    /// There is no such group.
    #[error("group `{group}` does not exist")]
    NoGroup {
        /// The group.
        group: String,
    },
    /// The daemon is not root.
    #[error("it should run in group `{group}`, and only root can start a process in another group")]
    OtherGroup {
        /// The group.
        group: String,
    },
}

impl IdentityError {
    /// Whether the error concerns the group.
    pub fn is_about_group(&self) -> bool {
        match self {
            Self::GroupAlone | Self::GroupLookup { .. } | Self::NoGroup { .. } | Self::OtherGroup { .. } => {
                true
            }
            Self::UserLookup { .. } | Self::NoUser { .. } | Self::OtherUser { .. } => false,
        }
    }
}

/// Looks up the user and the groups of a service.
pub fn resolve_identity(service: &Service) -> Result<Option<Identity>, IdentityError> {
    let Some(name) = &service.user else {
        return match &service.group {
            Some(_) => Err(IdentityError::GroupAlone),
            None => Ok(None),
        };
    };
    let user = User::from_name(name)
        .map_err(|error| IdentityError::UserLookup { name: name.clone(), error })?
        .ok_or_else(|| IdentityError::NoUser { name: name.clone() })?;
    if !nix::unistd::geteuid().is_root() && user.uid != nix::unistd::geteuid() {
        return Err(IdentityError::OtherUser { name: name.clone() });
    }
    let ours = nix::unistd::getegid();
    let gid = match &service.group {
        None => user.gid,
        Some(group) => {
            let found = Group::from_name(group)
                .map_err(|error| IdentityError::GroupLookup { group: group.clone(), error })?;
            found.ok_or_else(|| IdentityError::NoGroup { group: group.clone() })?.gid
        }
    };
    if let Some(group) = service.group.clone().filter(|_| !nix::unistd::geteuid().is_root() && gid != ours) {
        return Err(IdentityError::OtherGroup { group });
    }
    let groups = CString::new(name.as_str())
        .ok()
        .and_then(|name| getgrouplist(&name, gid).ok())
        .unwrap_or_else(|| vec![gid]);
    Ok(Some(Identity {
        name: user.name,
        home: user.dir,
        uid: user.uid.as_raw(),
        gid: gid.as_raw(),
        groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
    }))
}
