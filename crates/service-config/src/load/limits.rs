//! Resource limits, and keys that are valid only together with other keys.

use super::section::{Diagnostic, Section, integer, parse_size};
use service_core::config::{Manager, Service};
use toml::de::DeValue;

/// The minimum memory limit. Hardly any program starts with less.
const MIN_MEMORY_BYTES: u64 = 1_000_000;
/// The kernel's CPU quota is at least 1 ms in each period of 100 ms.
const MIN_CPU_CORES: f64 = 0.01;
/// The maximum CPU limit: more cores than any machine has. The quota in microseconds still fits into its type.
const MAX_CPU_CORES: f64 = 100_000.0;

/// `memory_limit`, in bytes.
pub(super) fn parse_memory(value: &DeValue<'_>) -> Option<u64> {
    let size = integer(value).or_else(|| parse_size(value.as_str()?));
    size.filter(|size| *size >= MIN_MEMORY_BYTES)
}

/// `cpu_limit`, in cores: `0.5`, or `"50%"` as systemd writes it.
pub(super) fn parse_cpu(value: &DeValue<'_>) -> Option<f64> {
    let cores = match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::String(text) => {
            let percent: Option<f64> = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
            percent.map(|percent| percent / 100.0)
        }
        other => integer::<u32>(other).map(f64::from),
    };
    cores.filter(|cores| (MIN_CPU_CORES..=MAX_CPU_CORES).contains(cores))
}

/// Reports keys that contradict the rest of the service.
pub(super) fn report_contradictions(section: &Section<'_>, service: &Service) {
    let diagnostic = |key: &str, message: String, help: &str| {
        let mut diagnostic =
            Diagnostic::new(section.span_of(key).unwrap_or(service.span.start..service.span.end), message);
        diagnostic.help = Some(help.to_owned());
        section.push(diagnostic);
    };
    if service.group.is_some() && service.user.is_none() {
        diagnostic("group", "`group` needs `user`".to_owned(), "set the user: `user = \"www-data\"`");
    }
    if service.manager != Manager::Process {
        let keys = ["env_clear", "pass_env", "no_new_privileges", "kill_mode"];
        for key in keys.into_iter().filter(|key| section.span_of(key).is_some()) {
            let message = format!("`{key}` applies only to `manager = \"process\"`");
            diagnostic(key, message, "remove it, or run the service with `manager = \"process\"`");
        }
    }
    if service.manager != Manager::Process && service.container.is_none() {
        // A `user` without effect is always an error, even in `service_defaults`.
        for (key, _) in
            [("user", &service.user), ("group", &service.group)].iter().filter(|(_, who)| who.is_some())
        {
            let message = format!(
                "`{key}` applies only to `manager = \"process\"`, and the manager of `{}` would use another \
                 user",
                service.name
            );
            let help = match section.span_of(key) {
                Some(_) => "configure it in the manager, such as `User=` of a unit",
                None => {
                    "it comes from `service_defaults`: set it in each service with `manager = \
                         \"process\"` instead"
                }
            };
            diagnostic(key, message, help);
        }
        for key in ["memory_limit", "cpu_limit"].into_iter().filter(|key| section.span_of(key).is_some()) {
            let message = format!("`{key}` applies only to `manager = \"process\"`");
            diagnostic(key, message, "configure the limit in the manager");
        }
    }
}
