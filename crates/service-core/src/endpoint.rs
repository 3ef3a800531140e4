//! [`Endpoint`]: the endpoint of a health check, in its written forms.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The endpoint of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Endpoint {
    /// `http://host[:port]/path`: passes if a GET is answered with an accepted status.
    Http(String),
    /// `https://...`: like `http://`, over TLS.
    Https(String),
    /// `tcp://host:port`: passes if the connection is accepted.
    Tcp(String),
    /// `unix:///path` or `unix://@name`: passes if the Unix socket with this path or abstract name accepts the
    /// connection.
    Unix(String),
    /// `dns://server:port/name`: passes if the answer has at least one record.
    Dns {
        /// Address and port of the server.
        server: String,
        /// The queried name.
        name: String,
    },
    /// `exec:command`: passes if the command ends with code 0.
    Exec(String),
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The scheme is unknown.
    #[error("`{0}` is not an endpoint")]
    Scheme(String),
    /// The scheme requires further parts.
    #[error("`{endpoint}` is incomplete: write it as `{form}`")]
    Incomplete {
        /// The written text.
        endpoint: String,
        /// The right form.
        form: &'static str,
    },
}

impl InvalidEndpoint {
    /// The help with all schemes.
    pub const HELP: &str = "use http://, https://, tcp://host:port, unix:///path, unix://@name, dns://server:port/name or exec:command";
}

/// The port of DNS.
const DNS_PORT: u16 = 53;

impl Endpoint {
    /// Parses an endpoint. The case of the scheme does not matter.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        let incomplete = |form| InvalidEndpoint::Incomplete { endpoint: text.to_owned(), form };
        if let Some((scheme, command)) = text.split_once(':')
            && scheme.eq_ignore_ascii_case("exec")
        {
            let command = command.trim();
            return if command.is_empty() {
                Err(incomplete("exec:command"))
            } else {
                Ok(Self::Exec(command.to_owned()))
            };
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| InvalidEndpoint::Scheme(text.to_owned()))?;
        let scheme = scheme.to_ascii_lowercase();
        match &*scheme {
            "http" | "https" if rest.is_empty() || rest.starts_with('/') => {
                Err(incomplete("http://host:port/path"))
            }
            "http" => Ok(Self::Http(alloc::format!("{scheme}://{rest}"))),
            "https" => Ok(Self::Https(alloc::format!("{scheme}://{rest}"))),
            "tcp" => host_and_port(rest.trim_end_matches('/'))
                .map(Self::Tcp)
                .ok_or_else(|| incomplete("tcp://host:port")),
            "unix" if rest.starts_with('/') || rest.len() > 1 && rest.starts_with('@') => {
                Ok(Self::Unix(rest.to_owned()))
            }
            "unix" => Err(incomplete("unix:///absolute/path or unix://@name")),
            "dns" => dns(rest).ok_or_else(|| incomplete("dns://server:port/name")),
            _ => Err(InvalidEndpoint::Scheme(text.to_owned())),
        }
    }

    /// The name of the endpoint's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Https(_) => "https",
            Self::Tcp(_) => "tcp",
            Self::Unix(_) => "unix",
            Self::Dns { .. } => "dns",
            Self::Exec(_) => "exec",
        }
    }
}

fn host_and_port(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)).then(|| text.to_owned())
}

fn dns(rest: &str) -> Option<Endpoint> {
    let (server, name) = rest.split_once('/')?;
    let server = if server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        server.to_owned()
    } else {
        alloc::format!("{server}:{DNS_PORT}")
    };
    (!name.is_empty() && !server.starts_with(':')).then(|| Endpoint::Dns { server, name: name.to_string() })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) | Self::Https(url) => f.write_str(url),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Dns { server, name } => write!(f, "dns://{server}/{name}"),
            Self::Exec(command) => write!(f, "exec:{command}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in [
            "http://localhost:5000/v2/",
            "https://example.test/health",
            "tcp://127.0.0.1:5432",
            "tcp://[::1]:80",
            "unix:///run/db.sock",
            "unix://@abstract",
            "dns://127.0.0.1:5300/registry.test",
            "exec:redis-cli ping",
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
        for (text, shown) in [
            ("HTTP://Localhost/A", "http://Localhost/A"),
            ("Https://a.test/", "https://a.test/"),
            ("TCP://[::1]:80", "tcp://[::1]:80"),
            ("Exec:true", "exec:true"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), shown);
        }
        assert_eq!(Endpoint::parse("dns://127.0.0.1/a").unwrap().to_string(), "dns://127.0.0.1:53/a");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for text in [
            "",
            "localhost:80",
            "ftp://x",
            "tcp://host",
            "tcp://host:x",
            "tcp://:1",
            "unix://a",
            "unix://@",
            "dns://x",
            "exec:",
            "http:///x",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
