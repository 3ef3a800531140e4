//! What a call learns from the shell it was made in: its directory and its environment.
//!
//! The plugin's own process has the environment of the moment it was spawned; only the engine knows the present one.

use nu_plugin::EngineInterface;
use nu_protocol::{ShellError, Spanned, Value};
use service_api::project::gone;
use service_api::{Code, Problem};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Variables that describe the shell, not what runs from it.
const SHELLS_OWN: [&str; 3] = ["PWD", "OLDPWD", "SERVICE_CALLER"];
/// Where Nushell keeps how a variable becomes text.
const CONVERSIONS: &str = "ENV_CONVERSIONS";

/// The directory of the shell. It may be gone: Nushell does not say where it is then, and its variable does.
pub(crate) fn directory(engine: &EngineInterface) -> Result<PathBuf, Problem> {
    match engine.get_current_dir() {
        Ok(directory) => Ok(directory.into()),
        Err(error) => {
            let named = engine.get_env_var("PWD").map_err(|_| unanswered(&error))?;
            Ok(named.and_then(|named| named.coerce_into_string().ok()).unwrap_or_default().into())
        }
    }
}

/// The home directory of a user whose environment does not name it.
pub(crate) fn home() -> Option<OsString> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten()?;
    Some(user.dir.into())
}

/// The directory of the shell, for what is to be done there.
pub(crate) fn here(engine: &EngineInterface) -> Result<PathBuf, Problem> {
    let directory = directory(engine)?;
    if directory.is_dir() { Ok(directory) } else { Err(gone::directory(&directory)) }
}

/// The environment as a program started from this shell would see it: what `$env.ENV_CONVERSIONS` turns into text first,
/// as Nushell does for external programs.
///
/// # Errors
/// [`Code::Internal`] if the shell cannot be asked, or one of its conversions fails.
pub(crate) fn environment(engine: &EngineInterface) -> Result<HashMap<String, String>, Problem> {
    let mut variables = engine.get_env_vars().map_err(|error| unanswered(&error))?;
    let conversions =
        variables.remove(CONVERSIONS).and_then(|value| value.into_record().ok()).unwrap_or_default();
    for (name, conversion) in &conversions {
        let closure =
            conversion.as_record().ok().and_then(|record| record.get("to_string")?.as_closure().ok());
        let (Some(closure), Some(value)) = (closure, variables.get_mut(name)) else { continue };
        let span = value.span();
        let closure = Spanned { item: closure.clone(), span };
        let converted = engine.eval_closure(&closure, vec![value.clone()], Some(value.clone()));
        *value = converted.map_err(|error| {
            Problem::new(Code::Internal, format!("cannot turn $env.{name} into text: {error}"))
                .help(format!("correct $env.{CONVERSIONS}.{name}.to_string"))
        })?;
    }
    let home = variables.get("HOME").and_then(|home| home.coerce_string().ok());
    Ok(variables
        .into_iter()
        .filter(|(name, _)| !SHELLS_OWN.contains(&name.as_str()))
        .filter_map(|(name, value)| text(&name, &value, home.as_deref()).map(|text| (name, text)))
        .collect())
}

/// A path as the shell means it: `~` is its home, and what is relative is so to its directory.
pub(crate) fn path(engine: &EngineInterface, written: &str) -> Result<PathBuf, Problem> {
    let rest = written.strip_prefix("~/");
    let home = || {
        let named = engine.get_env_var("HOME").ok().flatten();
        named.and_then(|value| text("HOME", &value, None)).map(OsString::from).or_else(home)
    };
    if let Some((rest, home)) = rest.zip(rest.and_then(|_| home())) {
        return Ok(Path::new(&home).join(rest));
    }
    let written = Path::new(written);
    if written.is_absolute() { Ok(written.to_path_buf()) } else { Ok(here(engine)?.join(written)) }
}

/// The `nu` that runs this plugin.
pub(crate) fn nu() -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{}/exe", nix::unistd::getppid())).ok()
}

/// A variable as text, with `~` in a list of directories as `home`. Closures, records and the like mean something in
/// Nushell only and stay there.
pub(crate) fn text(name: &str, value: &Value, home: Option<&str>) -> Option<String> {
    let expand = |dir: &Value| {
        let dir = dir.coerce_str().ok()?;
        Some(match (dir.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
            _ => dir.into_owned(),
        })
    };
    match value {
        Value::List { vals, .. } if name.eq_ignore_ascii_case("PATH") => {
            Some(vals.iter().filter_map(expand).collect::<Vec<_>>().join(":"))
        }
        value => value.coerce_string().ok().filter(|text| !text.contains('\0')),
    }
}

fn unanswered(error: &ShellError) -> Problem {
    Problem::new(Code::Internal, format!("cannot query the shell: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nu_protocol::record;

    #[test]
    fn only_what_a_program_could_read_is_passed_on() {
        let path = Value::test_list(vec![Value::test_string("/bin"), Value::test_string("/usr/bin")]);
        let text = |name: &str, value: &Value| text(name, value, Some("/home/me"));
        assert_eq!(text("PATH", &path).as_deref(), Some("/bin:/usr/bin"));
        let path = Value::test_list(vec![Value::test_string("~/bin"), Value::test_string("~root")]);
        assert_eq!(text("PATH", &path).as_deref(), Some("/home/me/bin:~root"));
        assert_eq!(text("PORT", &Value::test_int(80)).as_deref(), Some("80"));
        assert_eq!(text("LIST", &path), None);
        assert_eq!(text("config", &Value::test_record(record! {})), None);
        assert_eq!(text("ODD", &Value::test_string("a\0b")), None);
    }
}
