//! The environment of a service: inherited variables, then env files, then `env`.
//!
//! A service inherits the whole environment of the daemon, which is the environment of the user's shell. With another
//! user or with `env_clear`, it inherits only variables that identify no user and variables in `pass_env`, and gets the
//! login variables of its own user.

use crate::env_file::{self, EnvFileError, Variable};
use nix::unistd::{Uid, User, geteuid};
use service_core::config::Service;
use service_shim::protocol::Identity;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The variable that marks a process as part of one run of one service.
pub const RUN_ID_VARIABLE: &str = "SERVICE_RUN_ID";
/// The variables that only the daemon sets, for each run and each call.
pub const RESERVED_VARIABLES: [&str; 3] = [RUN_ID_VARIABLE, "SERVICE_CALL_ID", "NOTIFY_SOCKET"];
/// Variables that every program needs and that identify no user, in addition to variables that begin with `LC_`.
const COMMON_VARIABLES: [&str; 5] = ["PATH", "LANG", "LANGUAGE", "TERM", "TZ"];
/// Variables that identify a user.
const USER_VARIABLES: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];

/// Why the variables of a definition cannot be read.
#[derive(Debug, Error)]
pub enum EnvironmentError {
    /// An env file cannot be used.
    #[error("{}", .0.describe_for_start())]
    File(#[from] EnvFileError),
    /// An env file sets a variable of [`RESERVED_VARIABLES`].
    #[error("its env_file `{}` sets `{name}`, which is set for each run", path.display())]
    Reserved {
        /// The file.
        path: PathBuf,
        /// The variable.
        name: String,
    },
}

/// The inherited environment of a service; `None` for the whole environment of the daemon.
pub fn inherited_environment(
    service: &Service,
    identity: Option<&Identity>,
) -> Option<Vec<(String, String)>> {
    let other = identity.filter(|identity| identity.uid != geteuid().as_raw());
    if other.is_none() && !service.environment.env_clear {
        return None;
    }
    let pass = &service.environment.pass_env;
    let is_passed = |name: &str| {
        COMMON_VARIABLES.contains(&name)
            || name.starts_with("LC_")
            || (other.is_none() && USER_VARIABLES.contains(&name))
            || pass.iter().any(|passed| passed == name)
    };
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    let mut kept: Vec<(String, String)> =
        variables.filter(|(name, _)| is_passed(name) && !RESERVED_VARIABLES.contains(&&**name)).collect();
    if let Some(identity) = other {
        // A variable in `pass_env` is passed even if it identifies a user.
        let own = login_variables(identity).into_iter().filter(|(name, _)| !pass.contains(name));
        kept.extend(own);
    }
    Some(kept)
}

/// The variables of a user that a login would set.
fn login_variables(identity: &Identity) -> Vec<(String, String)> {
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

/// The step of a launch or a command that may hang, because of a file system or a name service; as the beginning of an
/// error message.
pub fn describe_slow_lookup(service: &Service) -> Option<&'static str> {
    match (service.env_file.is_empty(), service.user.is_none()) {
        (true, true) => None,
        (false, true) => Some("its env files cannot be read"),
        (true, false) => Some("its `user` cannot be looked up"),
        (false, false) => Some("its env files cannot be read, or its `user` cannot be looked up,"),
    }
}

/// The variables of the definition: env files, then its own variables.
pub fn read_environment(
    base_dir: &Path,
    service: &Service,
) -> Result<Vec<(String, String)>, EnvironmentError> {
    let mut variables = Vec::new();
    for file in &service.env_file {
        let path = base_dir.join(file);
        for variable in env_file::read(&path)? {
            let (Variable::Set { name, .. } | Variable::Inherited(name)) = &variable;
            if RESERVED_VARIABLES.contains(&&**name) {
                return Err(EnvironmentError::Reserved { name: name.clone(), path });
            }
            match variable {
                Variable::Set { name, value, .. } => variables.push((name, value)),
                Variable::Inherited(name) => {
                    variables.extend(std::env::var(&name).ok().map(|value| (name, value)));
                }
            }
        }
    }
    variables.extend(service.env.iter().cloned());
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_core::Name;

    fn names(service: &Service, identity: Option<&Identity>) -> Option<Vec<String>> {
        inherited_environment(service, identity).map(|all| all.into_iter().map(|(name, _)| name).collect())
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
        // Cargo sets such variables for each test.
        assert!(!theirs.iter().any(|name| name.starts_with("CARGO")), "{theirs:?}");
        service.environment.pass_env = vec!["CARGO_PKG_NAME".into(), "NOTIFY_SOCKET".into()];
        let passed = names(&service, Some(&identity)).unwrap();
        assert!(passed.contains(&"CARGO_PKG_NAME".to_owned()), "{passed:?}");
        service.environment.env_clear = true;
        let own = names(&service, None).unwrap();
        assert!(own.contains(&"CARGO_PKG_NAME".to_owned()) && !own.contains(&"CARGO".to_owned()), "{own:?}");
    }

    #[test]
    fn what_asks_a_file_system_or_a_name_service_is_known_before_it_is_asked() {
        for (keys, waits) in [
            ("", None),
            ("env_file = '.env'", Some("its env files cannot be read")),
            ("user = 'somebody'", Some("its `user` cannot be looked up")),
            (
                "user = 'somebody'\nenv_file = '.env'",
                Some("its env files cannot be read, or its `user` cannot be looked up,"),
            ),
        ] {
            let text = format!("[services.a]\nstart_command = 'true'\n{keys}");
            let config = service_config::load::config_from_str(&text, "services.toml").unwrap();
            assert_eq!(describe_slow_lookup(&config.services[0]), waits, "{keys}");
        }
    }
}
