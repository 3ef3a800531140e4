//! The working directory and the environment of the calling shell.
//!
//! The plugin's process has the environment from the time of its start; only the engine has the current one.

use nu_plugin::EngineInterface;
use nu_protocol::{ShellError, Spanned, Value};
use service_api::project::{gone, home_directory, system_home};
use service_api::{Code, Problem};
use service_client::Caller;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Variables that describe the shell itself and that programs do not receive.
const SHELL_VARIABLES: [&str; 3] = ["PWD", "OLDPWD", "SERVICE_CALLER"];
/// The variable with Nushell's conversions of variables to text.
const CONVERSIONS: &str = "ENV_CONVERSIONS";

/// The directory of the shell. If the directory was deleted, Nushell does not return it, but `$env.PWD` has its path.
pub fn directory(engine: &EngineInterface) -> Result<PathBuf, Problem> {
    match engine.get_current_dir() {
        Ok(directory) => Ok(directory.into()),
        Err(error) => {
            let named = engine.get_env_var("PWD").map_err(|_| unanswered(&error))?;
            Ok(named.and_then(|named| named.coerce_into_string().ok()).unwrap_or_default().into())
        }
    }
}

/// The directory of the shell, which must exist.
pub fn here(engine: &EngineInterface) -> Result<PathBuf, Problem> {
    let directory = directory(engine)?;
    if directory.is_dir() { Ok(directory) } else { Err(gone::directory(&directory)) }
}

/// The environment that an external program of this shell would have. Like in Nushell, `$env.ENV_CONVERSIONS` converts
/// values to text first.
///
/// # Errors
/// [`Code::Internal`] if the engine does not answer, or if a conversion fails.
pub fn environment(engine: &EngineInterface) -> Result<HashMap<String, String>, Problem> {
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
    let named = variables.get("HOME").and_then(|home| home.coerce_string().ok());
    let home =
        home_directory(named.map(OsString::from), system_home).and_then(|home| home.into_string().ok());
    Ok(variables
        .into_iter()
        .filter(|(name, _)| !SHELL_VARIABLES.contains(&name.as_str()))
        .filter_map(|(name, value)| text(&name, &value, home.as_deref()).map(|text| (name, text)))
        .collect())
}

/// This shell as the caller of a client.
///
/// # Errors
/// The errors of [`environment`].
pub fn caller(engine: &EngineInterface) -> Result<Caller, Problem> {
    Ok(Caller { environment: environment(engine)?, nu: nu() })
}

/// A path relative to the shell's directory; `~` is the home directory.
pub fn path(engine: &EngineInterface, written: &str) -> Result<PathBuf, Problem> {
    let rest = written.strip_prefix("~/");
    let home = || {
        let named = engine.get_env_var("HOME").ok().flatten();
        home_directory(named.and_then(|value| text("HOME", &value, None)).map(OsString::from), system_home)
    };
    if let Some((rest, home)) = rest.zip(rest.and_then(|_| home())) {
        return Ok(Path::new(&home).join(rest));
    }
    let written = Path::new(written);
    if written.is_absolute() { Ok(written.to_path_buf()) } else { Ok(here(engine)?.join(written)) }
}

/// The `nu` program that runs this plugin.
pub fn nu() -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{}/exe", nix::unistd::getppid())).ok()
}

/// A variable as text, with `~` in a list of directories replaced by `home`. `None` for closures, records and similar
/// values, which have no text.
pub fn text(name: &str, value: &Value, home: Option<&str>) -> Option<String> {
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
