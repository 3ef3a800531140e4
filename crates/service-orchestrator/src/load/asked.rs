//! What of a health check cannot be, or is said in vain.

use super::map::Map;
use super::section::Fault;
use crate::host::ca_file::check_ca_file;
use crate::host::fs::MAX_SOCKET_NAME_BYTES;
use service_core::config::Service;
use service_core::health::Endpoint;
use std::path::Path;

/// The longest path, and the longest name in one, that the kernel takes.
const LONGEST_PATH: usize = 4095;
const LONGEST_PART: usize = 255;

/// Every doubt about how a service is asked.
pub(super) fn doubts(service: &Service, map: &Map<'_>, base: &Path) -> Vec<Fault> {
    let health = &service.health;
    let doubt = |path: &[&str], message: String, help: &str| {
        let own = [&["services", &*service.name], path].concat();
        let default = [&["orchestrator", "service_defaults"], path].concat();
        let span = map.value(&own).or_else(|| map.value(&default)).or_else(|| map.name(&service.name));
        let mut fault = Fault::new(span.unwrap_or_default(), message);
        fault.help = Some(help.to_owned());
        fault
    };
    let mut doubts = Vec::new();
    if let Some(Endpoint::Unix(name)) = &service.endpoint
        && let Some(why) = never_there(name)
    {
        let help = "give the socket a shorter path";
        doubts.push(doubt(
            &["health_check_endpoint"],
            format!("nobody can listen at `unix://{name}`: {why}"),
            help,
        ));
    }
    let is_tls = matches!(service.endpoint, Some(Endpoint::Https(_)));
    let is_own = |key: &str| map.value(&["services", &service.name, "health", key]).is_some();
    for key in ["ca_file", "insecure"].into_iter().filter(|key| is_own(key) && !is_tls) {
        let message = format!("`health.{key}` is about `https://`, and that is not how it is asked");
        doubts.push(doubt(
            &["health", key],
            message,
            "write `https://` in `health_check_endpoint`, or leave it out",
        ));
    }
    match &health.ca_file {
        Some(_) if is_tls && health.insecure => {
            let message = "`health.insecure` trusts anybody, so `health.ca_file` is not read".to_owned();
            doubts.push(doubt(&["health", "ca_file"], message, "leave one of them out"));
        }
        Some(file) if is_tls => {
            if let Some(why) = check_ca_file(&base.join(file)) {
                doubts.push(doubt(&["health", "ca_file"], why, "it is read at each check"));
            }
        }
        _ => {}
    }
    doubts
}

/// Why there can be no socket of this name.
fn never_there(name: &str) -> Option<String> {
    if name.contains('\0') {
        return Some("there is a NUL in it".to_owned());
    }
    match name.strip_prefix('@') {
        Some(name) if name.len() > MAX_SOCKET_NAME_BYTES => Some(format!(
            "an abstract name has {MAX_SOCKET_NAME_BYTES} bytes at most, and this has {}",
            name.len()
        )),
        Some(_) => None,
        None if name.len() > LONGEST_PATH => Some(format!("a path has {LONGEST_PATH} bytes at most")),
        None if name.split('/').any(|part| part.len() > LONGEST_PART) => {
            Some(format!("a name in a path has {LONGEST_PART} bytes at most"))
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
            assert_eq!(never_there(&name), None, "{name}");
        }
        let deep = "/x".repeat(2048);
        for name in [format!("/{}", long(256)), deep, format!("@{}", long(108)), "/a\0b".to_owned()] {
            assert!(never_there(&name).is_some(), "{name}");
        }
    }
}
