//! `$env.config.plugins.service`: the daemon of another machine.

use crate::shell;
use nu_plugin::EngineInterface;
use nu_protocol::Value;
use service_api::endpoint::{DaemonEndpoint, TcpEndpoint};
use service_api::ownership::read_regular;
use service_api::{Code, Problem};
use service_client::daemon_address::DaemonAddress;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The keys of `$env.config.plugins.service`.
const KEYS: [&str; 3] = ["url", "token_file", "ca_file"];

/// The configured daemon of another machine; `None` if there is none.
pub fn configured(engine: &EngineInterface) -> Result<Option<DaemonAddress>, Problem> {
    let wrong = |message: String| {
        Problem::new(Code::BadRequest, format!("cannot use $env.config.plugins.service: {message}"))
    };
    let config = engine.get_plugin_config().map_err(|error| wrong(error.to_string()))?;
    let Some(Value::Record { val: config, .. }) = config else { return Ok(None) };
    if let Some(strange) = config.columns().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(
            wrong(format!("unknown key `{strange}`")).help(format!("its keys are {}", KEYS.join(", ")))
        );
    }
    let text = |key: &str| match config.get(key) {
        None | Some(Value::Nothing { .. }) => Ok(None),
        Some(value) => {
            value.coerce_string().map(Some).map_err(|_| wrong(format!("`{key}` should be a string")))
        }
    };
    let Some(url) = text("url")? else { return Ok(None) };
    let remote = TcpEndpoint::parse(&url)?;
    let Some(token_file) = text("token_file")? else {
        return Err(wrong("`token_file` is missing".into()).help(
            "copy `tokens/read` or `tokens/admin` from the remote state directory, and name the copy",
        ));
    };
    let token = token(&shell::path(engine, &token_file)?)?;
    let ca_file = text("ca_file")?.map(|file| shell::path(engine, &file)).transpose()?;
    Ok(Some(DaemonAddress { endpoint: DaemonEndpoint::Tcp(remote), token: Some(token), ca_file }))
}

/// The size limit of a token file.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// Reads the token from a file that no other user can read.
fn token(path: &Path) -> Result<String, Problem> {
    let cannot = |why: &dyn std::fmt::Display| {
        Problem::new(Code::Unauthorized, format!("cannot use the token in `{}`: {why}", path.display()))
    };
    let help = "copy `tokens/read` or `tokens/admin` from the remote state directory";
    let found = std::fs::metadata(path).map_err(|error| cannot(&error).help(help))?;
    if found.mode() & 0o077 != 0 {
        return Err(cannot(&"others can read it").help(format!("run `chmod 600 {}`", path.display())));
    }
    let bytes = read_regular(path, MAX_TOKEN_BYTES).map_err(|error| cannot(&error))?;
    let text = String::from_utf8_lossy(&bytes);
    let token = text.trim();
    match token.is_empty() || token.contains(|c: char| c.is_whitespace() || !c.is_ascii_graphic()) {
        true => Err(cannot(&"the file contains no token").help(help)),
        false => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_taken_from_a_file_that_nobody_else_can_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert_eq!(token(&path).unwrap_err().code, Code::Unauthorized);
        std::fs::write(&path, "abc\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(token(&path).unwrap_err().help.unwrap().contains("chmod 600"));
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(token(&path).unwrap(), "abc");
        std::fs::write(&path, "two words").unwrap();
        assert!(token(&path).unwrap_err().message.contains("no token"));
    }
}
