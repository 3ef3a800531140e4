//! The text of a unit. Nothing is touched here.

use service_api::Project;
use service_core::config::Service;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Where a daemon lives in the cgroup of its unit, so that limits can be set beside it.
const LEAF: &str = "service-orchestrator.leaf";
/// The first systemd that puts a unit's process there. Without it a unit that hands on controllers cannot be started again
/// while anything of it runs.
const DELEGATES: u32 = 254;

/// Which services are started along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Starts {
    /// Those that are marked `auto = true`.
    Auto,
    /// All.
    All,
    /// These.
    Named(Vec<String>),
}

/// When systemd starts the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum At {
    /// When its user logs in.
    #[default]
    Login,
    /// When the machine starts.
    Boot,
}

/// All that a unit says.
pub(super) struct Unit<'a> {
    pub(super) program: &'a Path,
    pub(super) project: &'a Project,
    pub(super) nu: Option<&'a Path>,
    pub(super) starts: &'a Starts,
    pub(super) environment: &'a [(&'static str, OsString)],
    pub(super) systemd: Option<u32>,
}

impl Starts {
    /// What somebody asked for by names, or by `--all`.
    pub fn of(all: bool, names: Vec<String>) -> Self {
        match (all, names.is_empty()) {
            (true, _) => Self::All,
            (false, true) => Self::Auto,
            (false, false) => Self::Named(names),
        }
    }

    pub(super) fn covers(&self, service: &Service) -> bool {
        match self {
            Self::Auto => service.auto,
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| *name == *service.name),
        }
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::All => "all".to_owned(),
            Self::Named(names) => names.join(","),
        }
    }

    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Auto => vec!["--auto".to_owned()],
            Self::All => vec!["--all".to_owned()],
            Self::Named(names) => names.clone(),
        }
    }
}

/// The name of a project's unit: a person recognises it, and no other project has it.
pub(super) fn name(project: &Project) -> String {
    let slug = project.state_dir.file_name().unwrap_or_default().to_string_lossy();
    format!("service-orchestrator-{slug}.service")
}

/// The text. An error says which word systemd could not be told.
pub(super) fn text(unit: &Unit<'_>) -> Result<String, String> {
    let config = utf8(&unit.project.config)?;
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").unwrap_or_default();
    line(format_args!("# Written by `service enable`, which explains it; `service disable` removes it."));
    line(format_args!("[Unit]"));
    line(format_args!("Description=Services of {}", plain(config)));
    line(format_args!("\n[Service]"));
    line(format_args!(
        "# Ready when it answers and has taken up what runs already. It tells how its services are."
    ));
    line(format_args!("Type=notify"));
    line(format_args!("ExecStart={}", command(unit, config)?));
    line(format_args!("ExecReload=/bin/kill -HUP $MAINPID"));
    for (name, value) in unit.environment {
        let value = value.to_str().ok_or_else(|| format!("${name} is not UTF-8"))?;
        line(format_args!("Environment={}", quoted(&format!("{name}={value}"))));
    }
    line(format_args!("# Services outlive their daemon: to restart this unit disturbs none of them."));
    line(format_args!("KillMode=process"));
    line(format_args!("# A service that the kernel kills for its memory is none of systemd's business."));
    line(format_args!("OOMPolicy=continue"));
    line(format_args!("Restart=on-failure"));
    line(format_args!("RestartSec=1"));
    line(format_args!("# It says that it does its work; a daemon that hangs is replaced."));
    line(format_args!("WatchdogSec=30"));
    line(format_args!("# When the session ends it stops the services in order first."));
    line(format_args!("TimeoutStopSec=120"));
    if unit.systemd.is_some_and(|version| version >= DELEGATES) {
        line(format_args!("# memory_limit and cpu_limit become cgroups below this one."));
        line(format_args!("Delegate=yes\nDelegateSubgroup={LEAF}"));
    }
    line(format_args!("\n[Install]\nWantedBy=default.target"));
    Ok(text)
}

fn command(unit: &Unit<'_>, config: &str) -> Result<String, String> {
    // Without the colon `$` would stand for variables.
    let mut words = vec![quoted(&format!(":{}", utf8(unit.program)?)), "run".to_owned()];
    words.extend(["--config".to_owned(), quoted(config)]);
    if let Some(nu) = unit.nu {
        words.extend(["--nu".to_owned(), quoted(utf8(nu)?)]);
    }
    words.extend(["--unit".to_owned(), "%n".to_owned()]);
    words.extend(unit.starts.arguments().iter().map(|word| quoted(word)));
    Ok(words.join(" "))
}

fn utf8(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("the path `{}` is not UTF-8", path.display()))
}

/// One word, whatever is in it: systemd takes it apart like a shell, and `%` stands for something.
fn quoted(word: &str) -> String {
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

/// Words for people, to the end of the line.
fn plain(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    printable.replace('%', "%%").trim_end_matches('\\').to_owned()
}

/// Where units of the user's own lie.
pub(super) fn directory(config_home: &Path) -> PathBuf {
    config_home.join("systemd/user")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(config: &str, starts: &Starts, systemd: u32) -> String {
        let project = Project {
            config: config.into(),
            state_dir: "/s/shop-0123".into(),
            socket: "/r/shop.sock".into(),
            trusted_hash: None,
        };
        let environment = [("PATH", OsString::from("/usr/bin:/opt/100% \"sure\""))];
        let program = Path::new("/opt/my tools/orchestratord");
        text(&Unit {
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
        let text = written("/home/me/50% \"of\" $HOME\\x/services.toml", &Starts::Auto, 252);
        let expected = r#"ExecStart=":/opt/my tools/orchestratord" run --config "/home/me/50%% \"of\" $HOME\\x/services.toml" --unit %n --auto"#;
        assert!(text.lines().any(|line| line == expected), "{text}");
        assert!(text.contains("\nEnvironment=\"PATH=/usr/bin:/opt/100%% \\\"sure\\\"\"\n"), "{text}");
        assert!(
            text.contains("\nDescription=Services of /home/me/50%% \"of\" $HOME\\x/services.toml\n"),
            "{text}"
        );
        assert_eq!(quoted("a\nb\t"), r#""a\x0ab\x09""#);
    }

    #[test]
    fn services_are_named_in_the_unit_and_controllers_handed_on_where_systemd_can() {
        let text = written("/p/services.toml", &Starts::Named(vec!["db".into(), "web".into()]), 254);
        assert!(text.contains(" --config /p/services.toml --unit %n db web\n"), "{text}");
        assert!(text.contains("\nDelegateSubgroup="), "{text}");
        let text = written("/p/services.toml", &Starts::All, 253);
        assert!(text.contains(" --all\n") && !text.contains("Delegate"), "{text}");
    }
}
