//! What a service may use, and what makes sense of it only together with other keys.

use super::section::{Fault, Section, integer, parse_size};
use service_core::config::{Manager, Service};
use toml::de::DeValue;

/// Less than this and hardly any program can be started, let alone run.
const LEAST_MEMORY: u64 = 1_000_000;
/// The kernel hands out no less than a millisecond in each tenth of a second.
const LEAST_CPU: f64 = 0.01;
/// More cores than any machine has, and few enough to be counted in microseconds.
const MOST_CPU: f64 = 100_000.0;

/// `memory_limit`, in bytes.
pub(super) fn memory(value: &DeValue<'_>) -> Option<u64> {
    let size = integer(value).or_else(|| parse_size(value.as_str()?));
    size.filter(|size| *size >= LEAST_MEMORY)
}

/// `cpu_limit`, in cores: `0.5`, or `"50%"` as systemd writes it.
pub(super) fn cpu(value: &DeValue<'_>) -> Option<f64> {
    let cores = match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::String(text) => {
            let percent: Option<f64> = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
            percent.map(|percent| percent / 100.0)
        }
        other => integer::<u32>(other).map(f64::from),
    };
    cores.filter(|cores| (LEAST_CPU..=MOST_CPU).contains(cores))
}

/// Reports what contradicts the rest of the service.
pub(super) fn agree(section: &Section<'_>, service: &Service) {
    let fault = |key: &str, message: String, help: &str| {
        let mut fault =
            Fault::new(section.place_of(key).unwrap_or(service.span.start..service.span.end), message);
        fault.help = Some(help.to_owned());
        section.push(fault);
    };
    if service.group.is_some() && service.user.is_none() {
        fault("group", "`group` needs `user`".to_owned(), "say as which user it runs: `user = \"www-data\"`");
    }
    if service.manager != Manager::Process {
        let keys = ["env_clear", "pass_env", "no_new_privileges", "kill_mode"];
        for key in keys.into_iter().filter(|key| section.place_of(key).is_some()) {
            let message =
                format!("`{key}` is for services that we run ourselves, and this one has a manager");
            fault(key, message, "leave it out, or run the service with `manager = \"process\"`");
        }
    }
    if service.manager != Manager::Process && service.container.is_none() {
        // A service is never run as somebody else than it says, also where all services say it.
        for (key, _) in
            [("user", &service.user), ("group", &service.group)].iter().filter(|(_, who)| who.is_some())
        {
            let message = format!(
                "`{key}` is for services that we run ourselves, and the manager of `{}` would run it as somebody else",
                service.name
            );
            let help = match section.place_of(key) {
                Some(_) => "say it where the service is run, such as `User=` of a unit",
                None => "it comes from `service_defaults`: say it in each service that we run instead",
            };
            fault(key, message, help);
        }
        for key in ["memory_limit", "cpu_limit"].into_iter().filter(|key| section.place_of(key).is_some()) {
            let message =
                format!("`{key}` is for services that we run ourselves, and this one has a manager");
            fault(key, message, "limit it where it is run");
        }
    }
}
