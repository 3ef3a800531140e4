//! What a service has of the environment of the daemon, which is that of a shell of who runs it.
//!
//! All of it, unless it runs as somebody else or `env_clear` says otherwise: then what says nothing about anybody, what
//! `pass_env` names, and the variables of its own user.

use nix::unistd::{Uid, User, geteuid};
use service_core::config::Service;
use service_shim::protocol::Identity;
use std::os::unix::fs::MetadataExt;

/// What is set for each run and each call, and by nobody else.
pub(crate) const RESERVED: [&str; 3] = [super::orphans::MARK, "SERVICE_CALL_ID", "NOTIFY_SOCKET"];
/// What every program needs and says nothing about anybody; and all that begins with `LC_`.
const EVERYBODYS: [&str; 5] = ["PATH", "LANG", "LANGUAGE", "TERM", "TZ"];
/// What says who somebody is.
const OF_ONESELF: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];

/// All that a service has before what its definition says; `None`: whatever the daemon has.
pub(crate) fn surroundings(service: &Service, identity: Option<&Identity>) -> Option<Vec<(String, String)>> {
    let other = identity.filter(|identity| identity.uid != geteuid().as_raw());
    if other.is_none() && !service.surroundings.env_clear {
        return None;
    }
    let pass = &service.surroundings.pass_env;
    let is_passed = |name: &str| {
        EVERYBODYS.contains(&name)
            || name.starts_with("LC_")
            || (other.is_none() && OF_ONESELF.contains(&name))
            || pass.iter().any(|passed| passed == name)
    };
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    let mut kept: Vec<(String, String)> =
        variables.filter(|(name, _)| is_passed(name) && !RESERVED.contains(&&**name)).collect();
    if let Some(identity) = other {
        // What is named is passed, whoever it is of.
        let own = of(identity).into_iter().filter(|(name, _)| !pass.contains(name));
        kept.extend(own);
    }
    Some(kept)
}

/// The variables of a user that a login would set.
fn of(identity: &Identity) -> Vec<(String, String)> {
    let home = identity.home.to_string_lossy().into_owned();
    let mut variables = vec![
        ("HOME".to_owned(), home),
        ("USER".to_owned(), identity.name.clone()),
        ("LOGNAME".to_owned(), identity.name.clone()),
    ];
    if let Ok(Some(user)) = User::from_uid(Uid::from_raw(identity.uid)) {
        variables.push(("SHELL".to_owned(), user.shell.to_string_lossy().into_owned()));
    }
    let runtime = format!("/run/user/{}", identity.uid);
    if std::fs::symlink_metadata(&runtime).is_ok_and(|meta| meta.is_dir() && meta.uid() == identity.uid) {
        let bus = format!("{runtime}/bus");
        if std::fs::symlink_metadata(&bus).is_ok_and(|meta| meta.uid() == identity.uid) {
            variables.push(("DBUS_SESSION_BUS_ADDRESS".to_owned(), format!("unix:path={bus}")));
        }
        variables.push(("XDG_RUNTIME_DIR".to_owned(), runtime));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_core::Name;

    fn names(service: &Service, identity: Option<&Identity>) -> Option<Vec<String>> {
        surroundings(service, identity).map(|all| all.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn another_user_gets_nothing_that_says_whose_shell_it_was() {
        let mut service = Service::new(Name::new("web").unwrap());
        assert_eq!(names(&service, None), None);
        let identity = Identity {
            name: "nobody".into(),
            home: "/nonexistent".into(),
            uid: geteuid().as_raw() + 1,
            gid: 65534,
            groups: Vec::new(),
        };
        let theirs = names(&service, Some(&identity)).unwrap();
        assert!(theirs.contains(&"HOME".to_owned()) && theirs.contains(&"PATH".to_owned()), "{theirs:?}");
        // Set by cargo for each test.
        assert!(!theirs.iter().any(|name| name.starts_with("CARGO")), "{theirs:?}");
        service.surroundings.pass_env = vec!["CARGO_PKG_NAME".into(), "NOTIFY_SOCKET".into()];
        let passed = names(&service, Some(&identity)).unwrap();
        assert!(passed.contains(&"CARGO_PKG_NAME".to_owned()), "{passed:?}");
        service.surroundings.env_clear = true;
        let own = names(&service, None).unwrap();
        assert!(own.contains(&"CARGO_PKG_NAME".to_owned()) && !own.contains(&"CARGO".to_owned()), "{own:?}");
    }
}
