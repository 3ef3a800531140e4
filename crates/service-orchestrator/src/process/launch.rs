//! What a shim is told: command, place, environment, user.

use super::surroundings::{RESERVED, surroundings};
use super::{limits, orphans};
use crate::env_file::{self, Variable};
use crate::world::Places;
use nix::unistd::{Group, User, getgrouplist};
use service_api::{Code, Problem};
use service_core::config::Service;
use service_core::why::STATE_NOT_WRITTEN;
use service_shim::protocol::Identity;
use service_shim::{Launch, LogLimits, Missing, PROTOCOL_VERSION};
use std::ffi::CString;
use std::path::Path;

/// Everything a run needs. The error continues "cannot start `web`: ".
pub(super) fn compose(places: &Places, service: &Service, run: u64) -> Result<Launch, String> {
    let files = places.files(&service.name);
    crate::orchestrator::private_dir(files.directory()).map_err(|error| {
        let path = files.directory().display();
        match Problem::of_io(&error, "").code {
            Code::Storage => format!("{STATE_NOT_WRITTEN} `{path}` cannot be written: {error}"),
            _ => format!("its state directory `{path}` cannot be used: {error}"),
        }
    })?;
    let identity = identity(service)?;
    let surroundings = surroundings(service, identity.as_ref());
    let env_clear = surroundings.is_some();
    let mut env = surroundings.unwrap_or_default();
    env.extend(environment(&places.base_dir, service)?);
    // Last, so that nobody can take the mark of another run.
    env.push((orphans::MARK.to_owned(), orphans::mark(places, &service.name, run)));
    Ok(Launch {
        version: PROTOCOL_VERSION,
        service: service.name.to_string(),
        run,
        directory: files.directory().to_path_buf(),
        argv: service.start_command.argv.clone(),
        working_dir: places.working_dir(service.working_dir.as_deref()),
        env,
        identity,
        log: log_limits(service),
        notify: service.ready.notify,
        ready_log: service.ready.log.clone().filter(|_| !service.oneshot),
        env_clear,
        no_new_privileges: service.has_no_new_privileges(),
        missing: Missing::default(),
        limits: limits::prepare(places, &service.name, &service.limits, run),
    })
}

/// How much of its log is kept.
pub(super) fn log_limits(service: &Service) -> LogLimits {
    LogLimits { max_size: service.log.max_size, max_files: service.log.max_files }
}

/// What of a launch or of a command of this service waits for others, a file system or a name service, which may not answer;
/// in the words of its failure.
pub(crate) fn waits_for_others(service: &Service) -> Option<&'static str> {
    match (service.env_file.is_empty(), service.user.is_none()) {
        (true, true) => None,
        (false, true) => Some("its env files cannot be read"),
        (true, false) => Some("its `user` cannot be looked up"),
        (false, false) => Some("its env files cannot be read, or its `user` cannot be looked up,"),
    }
}

/// What a service's environment has on top of the daemon's: its files, then its own variables.
pub(crate) fn environment(base_dir: &Path, service: &Service) -> Result<Vec<(String, String)>, String> {
    let mut variables = Vec::new();
    for file in &service.env_file {
        let path = base_dir.join(file);
        for variable in env_file::read(&path).map_err(|why| not_understood(&path, why))? {
            let (Variable::Set { name, .. } | Variable::Inherited(name)) = &variable;
            if RESERVED.contains(&&**name) {
                return Err(format!(
                    "its env_file `{}` sets `{name}`, which is set for each run",
                    path.display()
                ));
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

/// Each line that is wrong, and which file has them.
fn not_understood(path: &Path, why: String) -> String {
    if why.starts_with("its env_file") {
        return why;
    }
    let file = path.display();
    let lines = why.replace(&format!("{file}:"), "line ");
    format!("its env_file `{file}` is not understood: {lines}")
}

/// Looks up who the service runs as.
pub(crate) fn identity(service: &Service) -> Result<Option<Identity>, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let config = crate::load::config_from_str(&text, "services.toml").unwrap();
            assert_eq!(waits_for_others(&config.services[0]), waits, "{keys}");
        }
    }
}
