//! `[orchestrator.api]`: the TCP listener of the API, its allowed hosts and origins, and its TLS.

use super::section::Section;
use service_core::config::{Api, Tls};
use std::net::{Ipv4Addr, SocketAddr};

/// Reads the section. Without `listen` there is no TCP listener.
pub(super) fn api(mut section: Section<'_>) -> Option<Api> {
    let expected = "an address with a port, such as \"127.0.0.1:7777\"";
    let listen = section.read("listen", expected, |value| address(value.as_str()?));
    let hosts = section.list("hosts");
    let origins = section.list("origins");
    if let Some(wrong) = origins.iter().find(|origin| !is_origin(origin)) {
        let help = "write each origin as the browser sends it, such as \"https://board.example:8443\": no path, no \
             `*`";
        section.report_contradiction("origins", &format!("\"{wrong}\""), help);
    }
    let tls = section.section("tls").and_then(tls);
    let mut insecure = false;
    section.flag("insecure", &mut insecure);
    if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback() && tls.is_none() && !insecure) {
        let what = format!("\"{listen}\" without `tls`: the network could read the tokens");
        let help = "set `tls = { certificate, key }`; or listen on 127.0.0.1 behind a tunnel or proxy; or \
                    set `insecure = true`";
        section.report_contradiction("listen", &what, help);
    }
    section.reject_unknown_keys();
    listen.map(|listen| Api { listen, hosts, origins, tls })
}

fn tls(mut section: Section<'_>) -> Option<Tls> {
    let mut file = |key| {
        let file = section.read(key, "the path of a file in PEM", |value| value.as_str().map(str::to_owned));
        file.filter(|file| !file.is_empty())
    };
    let (certificate, key) = (file("certificate"), file("key"));
    if certificate.is_none() || key.is_none() {
        section.report_missing_key("`tls` needs both `certificate` and `key`");
    }
    section.reject_unknown_keys();
    Some(Tls { certificate: certificate?, key: key? })
}

/// Parses an address with a port. `localhost` is always 127.0.0.1, whatever `/etc/hosts` has.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
        None => text.parse().ok(),
    }
}

fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.contains(['/', '*', '?', '#', '@'])
    })
}

#[cfg(test)]
mod tests {
    use crate::load::config_from_str;

    fn read(keys: &str) -> Result<Option<Box<super::Api>>, String> {
        config_from_str(&format!("[orchestrator.api]\n{keys}"), "f")
            .map(|config| config.settings.api)
            .map_err(|problem| problem.message)
    }

    #[test]
    fn nothing_listens_unless_it_is_said_where() {
        assert_eq!(read("hosts = ['a']"), Ok(None));
        let api = read("listen = 'localhost:7777'\nhosts = ['box.lan']").unwrap().unwrap();
        assert_eq!((api.listen.to_string().as_str(), api.hosts.len()), ("127.0.0.1:7777", 1));
        assert!(read("listen = '7777'").unwrap_err().starts_with("`listen` should be an address"));
    }

    #[test]
    fn tokens_cross_no_network_in_the_clear_unless_that_is_said() {
        assert!(read("listen = '0.0.0.0:7777'").unwrap_err().contains("without `tls`"));
        assert!(read("listen = '0.0.0.0:7777'\ninsecure = true").is_ok());
        assert!(read("listen = '0.0.0.0:7777'\ntls = { certificate = 'a', key = 'b' }").is_ok());
        assert!(
            read("listen = '127.0.0.1:1'\ntls = { certificate = 'a' }").unwrap_err().contains("needs both")
        );
    }

    #[test]
    fn an_origin_is_one_page_and_not_every_page() {
        for wrong in ["*", "https://*", "https://a/b", "a.example"] {
            assert!(read(&format!("origins = ['{wrong}']")).is_err(), "{wrong}");
        }
        assert!(read("origins = ['https://a.example:8443']").is_ok());
    }
}
