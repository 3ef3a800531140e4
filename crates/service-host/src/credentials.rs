//! The user and the groups that a service runs as.

use nix::unistd::{Group, User, getgrouplist};
use service_core::config::Service;
use service_shim::protocol::Identity;
use std::ffi::CString;

/// Looks up the user and the groups of a service.
pub fn resolve_identity(service: &Service) -> Result<Option<Identity>, String> {
    let Some(name) = &service.user else {
        return match &service.group {
            Some(_) => Err("`group` needs `user`".to_owned()),
            None => Ok(None),
        };
    };
    let user = User::from_name(name)
        .map_err(|error| format!("user `{name}` cannot be looked up: {error}"))?
        .ok_or_else(|| format!("user `{name}` does not exist"))?;
    if !nix::unistd::geteuid().is_root() && user.uid != nix::unistd::geteuid() {
        return Err(format!("it should run as `{name}`, and only root can start a process as another user"));
    }
    let ours = nix::unistd::getegid();
    let gid = match &service.group {
        None => user.gid,
        Some(group) => {
            let found = Group::from_name(group)
                .map_err(|error| format!("group `{group}` cannot be looked up: {error}"))?;
            found.ok_or_else(|| format!("group `{group}` does not exist"))?.gid
        }
    };
    if !nix::unistd::geteuid().is_root() && service.group.is_some() && gid != ours {
        let group = service.group.as_deref().unwrap_or_default();
        return Err(format!(
            "it should run in group `{group}`, and only root can start a process in another group"
        ));
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
