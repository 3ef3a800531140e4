//! `image`, `pull`, `ports`, `volumes`, `networks`: the keys of services that a container engine runs.

use super::section::{Diagnostic, Section, integer};
use service_core::config::{Container, Manager, Pull, Service};
use toml::de::DeValue;

/// The built-in managers that run images.
const ENGINES: [&str; 2] = ["podman", "docker"];

/// Reads these keys, and reports keys that contradict the rest of the service.
pub(super) fn read(section: &mut Section<'_>, service: &Service) -> Option<Container> {
    let mut container = Container::default();
    let expected = "the name of an image, such as \"docker.io/library/postgres:16\"";
    let image = section.read("image", expected, |value| value.as_str().filter(|name| is_name(name)));
    section.choice("pull", &Pull::ALL, &mut container.pull);
    let expected = "a port such as \"8080:80\", \"127.0.0.1:5432:5432\" or \"53:53/udp\", or a list of them";
    container.ports = list(section, "ports", expected, port);
    let expected = "a volume such as \"data:/var/lib/data\" or \"./site:/srv:ro\", or a list of them";
    container.volumes = list(section, "volumes", expected, volume);
    let expected = "the name of a network, or a list of them";
    container.networks = list(section, "networks", expected, |value| {
        value.as_str().filter(|name| is_name(name)).map(str::to_owned)
    });

    let given = ["image", "pull", "ports", "volumes", "networks"]
        .into_iter()
        .find(|key| section.span_of(key).is_some());
    let (is_engine, is_other) = match &service.manager {
        Manager::BuiltIn(name) => (ENGINES.contains(&name.as_str()), !ENGINES.contains(&name.as_str())),
        Manager::Process => (false, true),
        Manager::Module(_) => (false, false),
    };
    let diagnostic = |key: &str, message: String, help: &str| {
        let mut diagnostic =
            Diagnostic::new(section.span_of(key).unwrap_or(service.span.start..service.span.end), message);
        diagnostic.help = Some(help.to_owned());
        diagnostic
    };
    match given {
        Some(key) if is_other => {
            let message = format!("`{key}` is for services that a container engine runs");
            section.push(diagnostic(key, message, "set `manager = \"podman\"` or `manager = \"docker\"`"));
            return None;
        }
        Some(key) if section.span_of("image").is_none() => {
            section.push(Diagnostic {
                missing: Some("image"),
                ..diagnostic(key, format!("`{key}` needs an `image`"), "set the image of its container")
            });
        }
        None if is_engine => {
            let message = format!("service `{}` has no `image`", service.name);
            section.push(Diagnostic {
                missing: Some("image"),
                ..diagnostic("manager", message, "set the image of its container")
            });
        }
        _ => {}
    }
    container.image = image?.to_owned();
    Some(container)
}

/// A value or a list of values, each of which `read` has to accept.
fn list(
    section: &mut Section<'_>,
    key: &'static str,
    expected: &str,
    read: impl Fn(&DeValue<'_>) -> Option<String>,
) -> Vec<String> {
    let Some(value) = section.get(key) else { return Vec::new() };
    let one = std::slice::from_ref(value);
    let values = value.get_ref().as_array().map_or(one, |values| &values[..]);
    let mut read_all = Vec::new();
    for value in values {
        match read(value.get_ref()) {
            Some(read) => read_all.push(read),
            None => section.report(value.span(), format!("`{key}` should be {expected}")),
        }
    }
    read_all
}

/// Whether this can be the name of an image or a network: it has no spaces and does not look like an option.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// `[[address:]port:]port[/protocol]`, with ranges in place of ports.
fn port(value: &DeValue<'_>) -> Option<String> {
    if let Some(number) = integer::<u16>(value).filter(|number| *number > 0) {
        return Some(number.to_string());
    }
    let text = value.as_str()?;
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    // An IPv6 address is in brackets.
    let (address, ports) = match ports.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((address, ports)) => (Some(address), ports),
        None if ports.matches(':').count() == 2 => {
            ports.split_once(':').map(|(address, ports)| (Some(address), ports))?
        }
        None => (None, ports),
    };
    let (outside, inside) =
        ports.split_once(':').map_or((None, ports), |(outside, inside)| (Some(outside), inside));
    let is_address = |text: &str| text.is_empty() || text.parse::<std::net::IpAddr>().is_ok();
    // An empty host port means any free port.
    let good = is_range(inside)
        && outside.is_none_or(|outside| is_range(outside) || (outside.is_empty() && address.is_some()))
        && address.is_none_or(is_address)
        && ["tcp", "udp", "sctp"].contains(&protocol);
    good.then(|| text.to_owned())
}

fn is_range(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    number(first).zip(number(last)).is_some_and(|(first, last)| first <= last)
}

/// `[source:]target[:options]`. The target is an absolute path in the container.
fn volume(value: &DeValue<'_>) -> Option<String> {
    let text = value.as_str().filter(|text| !text.starts_with(['-', '~']) && !text.contains(['\n', '\0']))?;
    let parts: Vec<&str> = text.split(':').collect();
    let target = match parts[..] {
        [target] => target,
        [source, target] | [source, target, _] if !source.is_empty() => target,
        _ => return None,
    };
    target.starts_with('/').then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> DeValue<'_> {
        DeValue::String(text.into())
    }

    #[test]
    fn ports_are_as_the_engines_write_them() {
        for good in
            ["80", "8080:80", "127.0.0.1:8080:80", "127.0.0.1::80", "[::1]:53:53/udp", "3000-3005:3000-3005"]
        {
            assert_eq!(port(&text(good)).as_deref(), Some(good));
        }
        for bad in ["", "0", "http", "80:", "1:2:3", "70000", "5-3", "80/icmp", "--privileged", "80 "] {
            assert_eq!(port(&text(bad)), None, "{bad}");
        }
    }

    #[test]
    fn volumes_have_a_target_in_the_container() {
        for good in ["/data", "data:/data", "./here:/data:ro", "/srv:/srv"] {
            assert_eq!(volume(&text(good)).as_deref(), Some(good));
        }
        for bad in ["", "data", "data:data", ":/data", "~/data:/data", "-v:/data", "a:/b:c:d"] {
            assert_eq!(volume(&text(bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_name_is_no_option() {
        assert!(is_name("docker.io/library/postgres:16"));
        assert!(!is_name("--privileged") && !is_name("") && !is_name("a b"));
    }

    fn wrong(keys: &str) -> (String, Option<String>, Option<usize>) {
        let problem =
            crate::load::config_from_str(&format!("[services.a]\n{keys}"), "services.toml").unwrap_err();
        (problem.message, problem.help, problem.place.map(|place| place.line))
    }

    #[test]
    fn what_makes_no_sense_is_told_where_it_stands() {
        let (message, help, line) = wrong("start_command = 'a'\nports = '80'");
        assert_eq!(message, "`ports` is for services that a container engine runs");
        assert!(help.is_some_and(|help| help.contains("manager = \"podman\"")));
        assert_eq!(line, Some(3));
        let (message, _, line) = wrong("manager = 'systemd'\nimage = 'a'");
        assert_eq!(
            (message.as_str(), line),
            ("`image` is for services that a container engine runs", Some(3))
        );
        let (message, _, line) = wrong("manager = 'docker'");
        assert_eq!((message.as_str(), line), ("service `a` has no `image`", Some(2)));
        let (message, _, line) = wrong("manager = 'own.nu'\nvolumes = ['a:/b']");
        assert_eq!((message.as_str(), line), ("`volumes` needs an `image`", Some(3)));
        let (message, _, line) = wrong("manager = 'podman'\nimage = 'a'\nports = [\n80,\n'x']");
        assert!(message.starts_with("`ports` should be a port such as"), "{message}");
        assert_eq!(line, Some(6));
        assert!(wrong("manager = 'podman'\nimage = '--privileged'").0.starts_with("`image` should be"));
        assert!(
            wrong("manager = 'podman'\nimage = 'a'\npull = 'sometimes'")
                .0
                .starts_with("`pull` should be one of")
        );
    }

    #[test]
    fn what_runs_in_a_container_is_words_and_may_be_limited() {
        let text = "[services.a]\nmanager = 'podman'\nimage = 'a'\nports = 80\nstart_command = 'say \"a b\"'\nmemory_limit = '64MB'";
        let config = crate::load::config_from_str(text, "services.toml").unwrap();
        let service = &config.services[0];
        assert_eq!(service.start_command.argv, ["say", "a b"]);
        assert_eq!(
            service.container.as_ref().map(|container| container.ports.clone()),
            Some(vec!["80".to_owned()])
        );
        assert_eq!(service.limits.memory, Some(64_000_000));
    }
}
