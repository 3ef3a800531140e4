//! Renders the text of a unit. This module writes no file.

use service_api::Project;
use service_core::config::Service;
use service_process::cgroup::LEAF;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The first version of systemd with `DelegateSubgroup=`. Without this key, a unit that delegates controllers cannot be
/// started again while one of its processes runs.
const MIN_SUBGROUP_VERSION: u32 = 254;

/// The services that start with the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartSet {
    /// The services with `auto = true`.
    Auto,
    /// All services.
    All,
    /// The named services.
    Named(Vec<String>),
}

/// The moment at which systemd starts the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum StartTrigger {
    /// The login of the user.
    #[default]
    Login,
    /// The boot of the machine.
    Boot,
}

/// The contents of a unit.
pub(super) struct UnitTemplate<'a> {
    pub(super) program: &'a Path,
    pub(super) project: &'a Project,
    pub(super) nu: Option<&'a Path>,
    pub(super) starts: &'a StartSet,
    pub(super) environment: &'a [(&'static str, OsString)],
    pub(super) systemd: Option<u32>,
}

impl StartSet {
    /// The services that `--all` and the names of a command line select.
    pub(crate) fn from_arguments(all: bool, names: Vec<String>) -> Self {
        match (all, names.is_empty()) {
            (true, _) => Self::All,
            (false, true) => Self::Auto,
            (false, false) => Self::Named(names),
        }
    }

    pub(super) fn contains(&self, service: &Service) -> bool {
        match self {
            Self::Auto => service.auto,
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| *name == *service.name),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::All => "all".to_owned(),
            Self::Named(names) => names.join(","),
        }
    }

    fn to_arguments(&self) -> Vec<String> {
        match self {
            Self::Auto => vec!["--auto".to_owned()],
            Self::All => vec!["--all".to_owned()],
            Self::Named(names) => names.clone(),
        }
    }
}

/// The unique and readable name of a project's unit.
pub(super) fn name(project: &Project) -> String {
    let slug = project.state_dir.file_name().unwrap_or_default().to_string_lossy();
    format!("service-orchestrator-{slug}.service")
}

/// A value that a unit cannot contain.
#[derive(Debug, Error)]
pub(super) enum RenderError {
    #[error("the path `{}` is not UTF-8", path.display())]
    Path { path: PathBuf },
    #[error("${name} is not UTF-8")]
    Variable { name: String },
}

/// The text of a unit.
pub(super) fn render(unit: &UnitTemplate<'_>) -> Result<String, RenderError> {
    let config = utf8(&unit.project.config)?;
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").unwrap_or_default();
    line(format_args!("# Written by `service enable`; `service disable` removes it."));
    line(format_args!("[Unit]"));
    line(format_args!("Description=Services of {}", escape_text(config)));
    line(format_args!("\n[Service]"));
    line(format_args!(
        "# Ready when the daemon answers and has adopted running services. The status line counts the \
         services."
    ));
    line(format_args!("Type=notify"));
    line(format_args!("ExecStart={}", command(unit, config)?));
    line(format_args!("ExecReload=/bin/kill -HUP $MAINPID"));
    for (name, value) in unit.environment {
        let value = value.to_str().ok_or_else(|| RenderError::Variable { name: (*name).to_owned() })?;
        line(format_args!("Environment={}", quote(&format!("{name}={value}"))));
    }
    line(format_args!("# Services outlive the daemon: a restart of this unit disturbs none of them."));
    line(format_args!("KillMode=process"));
    line(format_args!("# The daemon handles a service that the kernel kills for its memory."));
    line(format_args!("OOMPolicy=continue"));
    line(format_args!("Restart=on-failure"));
    line(format_args!("RestartSec=1"));
    line(format_args!("# systemd replaces a daemon that hangs."));
    line(format_args!("WatchdogSec=30"));
    line(format_args!("# At the end of the session the daemon stops the services in order first."));
    line(format_args!("TimeoutStopSec=120"));
    if unit.systemd.is_some_and(|version| version >= MIN_SUBGROUP_VERSION) {
        line(format_args!("# memory_limit and cpu_limit become cgroups below this one."));
        line(format_args!("Delegate=yes\nDelegateSubgroup={LEAF}"));
    }
    line(format_args!("\n[Install]\nWantedBy=default.target"));
    Ok(text)
}

fn command(unit: &UnitTemplate<'_>, config: &str) -> Result<String, RenderError> {
    // The colon prevents systemd from expanding variables.
    let mut words = vec![quote(&format!(":{}", utf8(unit.program)?)), "run".to_owned()];
    words.extend(["--config".to_owned(), quote(config)]);
    if let Some(nu) = unit.nu {
        words.extend(["--nu".to_owned(), quote(utf8(nu)?)]);
    }
    words.extend(["--unit".to_owned(), "%n".to_owned()]);
    words.extend(unit.starts.to_arguments().iter().map(|word| quote(word)));
    Ok(words.join(" "))
}

fn utf8(path: &Path) -> Result<&str, RenderError> {
    path.to_str().ok_or_else(|| RenderError::Path { path: path.to_path_buf() })
}

/// Quotes one word, because systemd splits a line like a shell and expands `%`.
fn quote(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/.-_=:,+".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.to_owned();
    }
    let mut text = String::from('"');
    for character in word.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '%' => text.push_str("%%"),
            control if control.is_ascii_control() => drop(write!(text, "\\x{:02x}", control as u32)),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// Escapes a text that extends to the end of a line of the unit file.
fn escape_text(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    printable.replace('%', "%%").trim_end_matches('\\').to_owned()
}

/// The directory of the user's units.
pub(super) fn directory(config_home: &Path) -> PathBuf {
    config_home.join("systemd/user")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(config: &str, starts: &StartSet, systemd: u32) -> String {
        let project = Project {
            config: config.into(),
            state_dir: "/s/shop-0123".into(),
            socket: "/r/shop.sock".into(),
            trusted_hash: None,
        };
        let environment = [("PATH", OsString::from("/usr/bin:/opt/100% \"sure\""))];
        let program = Path::new("/opt/my tools/orchestratord");
        render(&UnitTemplate {
            program,
            project: &project,
            nu: None,
            starts,
            environment: &environment,
            systemd: Some(systemd),
        })
        .unwrap()
    }

    #[test]
    fn whatever_stands_in_a_path_reaches_the_daemon_as_it_is() {
        let text = rendered("/home/me/50% \"of\" $HOME\\x/services.toml", &StartSet::Auto, 252);
        let expected = r#"ExecStart=":/opt/my tools/orchestratord" run --config "/home/me/50%% \"of\" $HOME\\x/services.toml" --unit %n --auto"#;
        assert!(text.lines().any(|line| line == expected), "{text}");
        assert!(text.contains("\nEnvironment=\"PATH=/usr/bin:/opt/100%% \\\"sure\\\"\"\n"), "{text}");
        assert!(
            text.contains("\nDescription=Services of /home/me/50%% \"of\" $HOME\\x/services.toml\n"),
            "{text}"
        );
        assert_eq!(quote("a\nb\t"), r#""a\x0ab\x09""#);
    }

    #[test]
    fn services_are_named_in_the_unit_and_controllers_handed_on_where_systemd_can() {
        let text = rendered("/p/services.toml", &StartSet::Named(vec!["db".into(), "web".into()]), 254);
        assert!(text.contains(" --config /p/services.toml --unit %n db web\n"), "{text}");
        assert!(text.contains("\nDelegateSubgroup="), "{text}");
        let text = rendered("/p/services.toml", &StartSet::All, 253);
        assert!(text.contains(" --all\n") && !text.contains("Delegate"), "{text}");
    }
}
