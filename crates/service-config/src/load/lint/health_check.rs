//! Lints for health checks: a socket that cannot exist, a TLS key without effect.

use super::super::key_map::KeyMap;
use super::super::section::Diagnostic;
use service_core::config::Service;
use service_core::health::Endpoint;
use service_host::ca_file::check_ca_file;
use service_host::fs::MAX_SOCKET_NAME_BYTES;
use std::path::Path;

/// The maximum length of a path (`PATH_MAX` without its NUL), and of a name in a path (`NAME_MAX`).
const MAX_PATH_BYTES: usize = 4095;
const MAX_FILE_NAME_BYTES: usize = 255;

/// Every warning about the health check of a service.
pub(super) fn check(service: &Service, map: &KeyMap<'_>, base: &Path) -> Vec<Diagnostic> {
    let health = &service.health;
    let warning = |path: &[&str], message: String, help: &str| {
        let own = [&["services", &*service.name], path].concat();
        let default = [&["orchestrator", "service_defaults"], path].concat();
        let span = map.value(&own).or_else(|| map.value(&default)).or_else(|| map.name(&service.name));
        let mut diagnostic = Diagnostic::new(span.unwrap_or_default(), message);
        diagnostic.help = Some(help.to_owned());
        diagnostic
    };
    let mut warnings = Vec::new();
    if let Some(Endpoint::Unix(name)) = &service.endpoint
        && let Some(why) = impossible_socket(name)
    {
        let help = "give the socket a shorter path";
        warnings.push(warning(
            &["health_check_endpoint"],
            format!("`unix://{name}` cannot be a socket: {why}"),
            help,
        ));
    }
    let is_tls = matches!(service.endpoint, Some(Endpoint::Https(_)));
    let is_own = |key: &str| map.value(&["services", &service.name, "health", key]).is_some();
    for key in ["ca_file", "insecure"].into_iter().filter(|key| is_own(key) && !is_tls) {
        let message = format!("`health.{key}` applies only to an `https://` check");
        warnings.push(warning(
            &["health", key],
            message,
            "write `https://` in `health_check_endpoint`, or remove the key",
        ));
    }
    match &health.ca_file {
        Some(_) if is_tls && health.insecure => {
            let message =
                "`health.insecure` trusts every certificate, so `health.ca_file` is not read".to_owned();
            warnings.push(warning(&["health", "ca_file"], message, "remove one of them"));
        }
        Some(file) if is_tls => {
            if let Some(why) = check_ca_file(&base.join(file)) {
                warnings.push(warning(&["health", "ca_file"], why.to_string(), "it is read at each check"));
            }
        }
        _ => {}
    }
    warnings
}

/// Why no socket can have this name; `None` if one can.
fn impossible_socket(name: &str) -> Option<String> {
    if name.contains('\0') {
        return Some("it contains a NUL".to_owned());
    }
    match name.strip_prefix('@') {
        Some(name) if name.len() > MAX_SOCKET_NAME_BYTES => Some(format!(
            "an abstract name has {MAX_SOCKET_NAME_BYTES} bytes at most, and this has {}",
            name.len()
        )),
        Some(_) => None,
        None if name.len() > MAX_PATH_BYTES => Some(format!("a path has {MAX_PATH_BYTES} bytes at most")),
        None if name.split('/').any(|part| part.len() > MAX_FILE_NAME_BYTES) => {
            Some(format!("a name in a path has {MAX_FILE_NAME_BYTES} bytes at most"))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_can_be_and_a_name_that_the_kernel_does_not_take_cannot() {
        let long = |length| "x".repeat(length);
        for name in [format!("/{}/s", long(200)), "/run/s".to_owned(), format!("@{}", long(107))] {
            assert_eq!(impossible_socket(&name), None, "{name}");
        }
        let deep = "/x".repeat(2048);
        for name in [format!("/{}", long(256)), deep, format!("@{}", long(108)), "/a\0b".to_owned()] {
            assert!(impossible_socket(&name).is_some(), "{name}");
        }
    }
}
