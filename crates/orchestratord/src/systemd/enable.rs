//! `orchestratord enable` and `disable`: the unit file and `systemctl --user`. A command that fails changes nothing.

use super::unit::{self, StartSet, StartTrigger};
use nix::unistd::{Uid, User};
use service_api::project::{home_directory, system_home};
use service_api::{Code, Problem, Project, Unit};
use service_host::descriptors;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use thiserror::Error;

/// The caller's variables that the unit sets: the search path of programs, and the state directories.
const INHERITED_VARIABLES: [&str; 7] = [
    "PATH",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "SERVICE_SHIM",
    "ORCHESTRATORD_LOG",
    "LANG",
];
/// The directory in which logind has a file for each user whose systemd runs without a login.
const LINGER_DIR: &str = "/var/lib/systemd/linger";

/// Writes the unit of a project and enables it in systemd; with `now`, also starts it.
///
/// # Errors
/// [`Code::NoSystemd`] if the user has no running systemd; [`Code::Internal`] if systemd refuses; [`Code::NotFound`] if
/// a named service does not exist. Nothing is changed then.
pub(crate) fn enable(
    project: &Project,
    nu: Option<&Path>,
    starts: &StartSet,
    trigger: StartTrigger,
    now: bool,
) -> Result<Unit, Problem> {
    let cannot = |why: String| Problem::new(Code::Internal, format!("cannot enable the project: {why}"));
    let plan = service_config::load::plan(&project.config)?;
    if let StartSet::Named(names) = starts {
        service_orchestrator::lookup::resolve(&plan, names)?;
    }
    let version = require_systemd()?;
    let program =
        std::env::current_exe().map_err(|error| cannot(format!("its program is unknown: {error}")))?;
    let environment: Vec<(&str, OsString)> =
        INHERITED_VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
    let text = unit::render(&unit::UnitTemplate {
        program: &program,
        project,
        nu,
        starts,
        environment: &environment,
        systemd: version,
    })
    .map_err(|error| cannot(error.to_string()))?;
    let (name, path) = (unit::name(project), unit_path(project)?);
    let before = fs::read(&path).ok();
    let undo = |problem: Problem| {
        let _ = match &before {
            Some(before) => fs::write(&path, before),
            None => {
                let _ = systemctl(&["disable", &name]);
                fs::remove_file(&path)
            }
        };
        let _ = systemctl(&["daemon-reload"]);
        problem
    };
    write(&path, &text)
        .map_err(|error| undo(cannot(format!("`{}` cannot be written: {error}", path.display()))))?;
    systemctl(&["daemon-reload"]).map_err(|error| undo(cannot(error.to_string())))?;
    systemctl(&["enable", &name]).map_err(|error| {
        undo(cannot(error.to_string()).help(
            "check that the user manager uses this $env.XDG_CONFIG_HOME: `systemctl --user \
                               show-environment` shows its own",
        ))
    })?;
    let marked = plan.ids().any(|id| starts.contains(plan.service(id)));
    let nothing = (!marked).then(|| {
        "no service has `auto = true`, so the daemon starts alone; set the key, \
                                     name services, or use --all"
            .to_owned()
    });
    let linger = (trigger == StartTrigger::Boot).then(enable_linger).flatten();
    if now {
        let _ = fs::remove_file(project.session_mark());
        // A running daemon is replaced; services keep running.
        systemctl(&["restart", &name]).map_err(|why| {
            let help = format!(
                "the unit is enabled nevertheless; `journalctl --user --unit {name}` has the details"
            );
            cannot(format!("it does not start: {why}")).help(help)
        })?;
    }
    let note: Vec<String> = [nothing, linger].into_iter().flatten().collect();
    Ok(describe(name, &path, starts.describe(), (!note.is_empty()).then(|| note.join("; "))))
}

/// Stops the daemon of a unit, and removes the unit. Services keep running.
///
/// # Errors
/// [`Code::BadRequest`] if there is no such unit, and the errors of [`enable`].
pub(crate) fn disable(project: &Project) -> Result<Unit, Problem> {
    let (name, path) = (unit::name(project), unit_path(project)?);
    let text = fs::read_to_string(&path).map_err(|_| {
        let message =
            format!("`{}` is not enabled: there is no `{}`", project.config.display(), path.display());
        Problem::new(Code::BadRequest, message)
    })?;
    require_systemd()?;
    let cannot = |why: String| Problem::new(Code::Internal, format!("cannot disable the project: {why}"));
    systemctl(&["disable", "--now", &name]).map_err(|error| cannot(error.to_string()))?;
    fs::remove_file(&path)
        .map_err(|error| cannot(format!("`{}` cannot be removed: {error}", path.display())))?;
    systemctl(&["daemon-reload"]).map_err(|error| cannot(error.to_string()))?;
    let _ = systemctl(&["reset-failed", &name]); // this fails unless the unit has failed
    let _ = fs::remove_file(project.session_mark());
    let starts = if text.contains(" --all\n") { "all" } else { "auto" };
    let still = "its services keep running; the next command that needs a daemon starts one, or `service \
                 daemon stop --services` stops them";
    let lingers = is_lingering()
        .then(|| "your systemd still runs without a login; `loginctl disable-linger` ends that".to_owned());
    let note = [Some(still.to_owned()), lingers].into_iter().flatten().collect::<Vec<_>>().join("; ");
    Ok(describe(name, &path, starts.to_owned(), Some(note)))
}

/// Whether a project has a unit.
pub(crate) fn is_enabled(project: &Project) -> bool {
    unit_path(project).is_ok_and(|path| path.exists())
}

/// Lets systemd start the daemon instead of this process, if systemd has already started the project's unit in this
/// login. Returns `true` if systemd starts the daemon.
pub(crate) fn start_instead(project: &Project) -> bool {
    let known = unit_path(project).is_ok_and(|path| path.exists()) && project.session_mark().exists();
    known && systemctl(&["start", &unit::name(project)]).is_ok()
}

fn describe(unit: String, path: &Path, services: String, note: Option<String>) -> Unit {
    let enabled = query_systemctl(&["is-enabled", &unit]) == "enabled";
    let at = match (enabled, is_lingering()) {
        (false, _) => "never",
        (true, false) => "login",
        (true, true) => "boot",
    };
    let state = query_systemctl(&["is-active", &unit]);
    Unit { unit, path: path.display().to_string(), enabled, at: at.to_owned(), state, services, note }
}

fn unit_path(project: &Project) -> Result<PathBuf, Problem> {
    let config = config_home(|name| std::env::var_os(name), system_home).ok_or_else(|| {
        Problem::new(
            Code::Internal,
            "cannot find the directory of units: neither HOME nor XDG_CONFIG_HOME is set",
        )
        .help("set XDG_CONFIG_HOME to a directory of your own")
    })?;
    Ok(unit::directory(&config).join(unit::name(project)))
}

/// `$XDG_CONFIG_HOME`, or else `.config` in the home directory.
fn config_home(
    variable: impl Fn(&str) -> Option<OsString>,
    system: impl FnOnce() -> Option<OsString>,
) -> Option<PathBuf> {
    let named = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|named| named.is_absolute());
    named.or_else(|| Some(Path::new(&home_directory(variable("HOME"), system)?).join(".config")))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)
}

/// The version of the user's systemd.
///
/// # Errors
/// [`Code::NoSystemd`] if systemd does not respond.
fn require_systemd() -> Result<Option<u32>, Problem> {
    let run = "run `orchestratord run` from another supervisor of this machine";
    let no = |why: &str, help: &str| {
        Problem::new(Code::NoSystemd, format!("cannot reach systemd: {why}")).help(help)
    };
    let version = match command(&["--version"]).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(no("there is no `systemctl` on PATH", run));
        }
        Err(error) => return Err(no(&format!("`systemctl` cannot be run: {error}"), run)),
    };
    if let Err(why) = systemctl(&["show", "--property", "Version"]) {
        let help = "log in as this user instead of using `su` or `sudo`; or set $env.XDG_RUNTIME_DIR to /run/user/UID, with `loginctl enable-linger` if nobody is logged in";
        return Err(no(&format!("no user manager answers: {why}"), help));
    }
    Ok(version.split([' ', '.', '~']).nth(1).and_then(|number| number.parse().ok()))
}

/// Lets the user's systemd run without a login. Returns a note with the error and its remedy, if this fails.
fn enable_linger() -> Option<String> {
    if is_lingering() {
        return None;
    }
    let mut ask = Command::new("loginctl");
    ask.args(["--no-ask-password", "enable-linger"]).stdin(Stdio::null());
    descriptors::as_meant(&mut ask);
    let why = match ask.output() {
        Ok(output) if output.status.success() => return None,
        Ok(output) => last_line(&output.stderr),
        Err(error) => error.to_string(),
    };
    let user = user().map_or_else(|| Uid::effective().to_string(), |user| user.name);
    Some(format!(
        "it starts at login and not at boot ({why}); an administrator can run `sudo loginctl enable-linger \
         {user}`"
    ))
}

fn is_lingering() -> bool {
    user().is_some_and(|user| Path::new(LINGER_DIR).join(user.name).exists())
}

fn user() -> Option<User> {
    User::from_uid(Uid::effective()).ok().flatten()
}

fn command(words: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(words).stdin(Stdio::null());
    descriptors::as_meant(&mut command);
    command
}

/// Why `systemctl --user` failed.
#[derive(Debug, Error)]
enum SystemctlError {
    #[error(transparent)]
    Run(#[from] io::Error),
    /// The last line that it printed.
    #[error("{0}")]
    Refused(String),
}

/// Runs `systemctl --user`.
fn systemctl(words: &[&str]) -> Result<(), SystemctlError> {
    let output = command(words).output()?;
    if output.status.success() { Ok(()) } else { Err(SystemctlError::Refused(last_line(&output.stderr))) }
}

/// The output of `systemctl --user`, whatever its exit status.
fn query_systemctl(words: &[&str]) -> String {
    let output = command(words).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_in_the_home_that_the_system_knows_where_the_environment_names_none() {
        let config = |set: &[(&str, &str)]| {
            let variable =
                |name: &str| set.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
            config_home(variable, || Some("/home/me".into())).unwrap()
        };
        assert_eq!(config(&[("XDG_CONFIG_HOME", "/conf"), ("HOME", "/home/you")]), Path::new("/conf"));
        assert_eq!(config(&[("XDG_CONFIG_HOME", ""), ("HOME", "/home/you")]), Path::new("/home/you/.config"));
        for home in ["", "relative"] {
            assert_eq!(config(&[("HOME", home)]), Path::new("/home/me/.config"));
        }
        assert_eq!(config(&[]), Path::new("/home/me/.config"));
    }
}
