//! [`DaemonEndpoint`]: the address of a daemon, on this machine or another.

use crate::problem::{Code, Problem};
use std::fmt;
use std::path::PathBuf;

/// The address of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DaemonEndpoint {
    /// A Unix socket on this machine.
    Unix(PathBuf),
    /// A TCP endpoint.
    Tcp(TcpEndpoint),
}

/// `http://host:port` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TcpEndpoint {
    /// Whether the daemon uses TLS.
    pub tls: bool,
    /// A name or an address. An IPv6 address is stored without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl TcpEndpoint {
    /// Parses the URL of a daemon: scheme, host and port only.
    ///
    /// # Errors
    /// [`Code::BadRequest`].
    pub fn parse(url: &str) -> Result<Self, Problem> {
        let wrong = || {
            let message = format!("cannot use the URL `{}`", crate::redact(url));
            Problem::new(Code::BadRequest, message)
                .help("write it as `https://host:7777`, without a path; the token is in `token_file`")
        };
        let (tls, usual, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, 443, rest),
            Some(("http", rest)) => (false, 80, rest),
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').or(port.is_empty().then_some(""))),
            None => rest.split_once(':').map_or((rest, Some("")), |(host, port)| (host, Some(port))),
        };
        let port = match port.ok_or_else(wrong)? {
            "" => usual,
            port => port.parse().map_err(|_| wrong())?,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(plain) {
            return Err(wrong());
        }
        Ok(Self { tls, host: host.to_owned(), port })
    }

    /// Host and port, in the form of a `Host` header.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for TcpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::TcpEndpoint;

    #[test]
    fn a_url_leads_to_a_host_and_says_nothing_more() {
        let read = |url: &str| TcpEndpoint::parse(url).map(|remote| remote.to_string());
        assert_eq!(read("https://box.lan:7777/").unwrap(), "https://box.lan:7777");
        assert_eq!(read("http://127.0.0.1").unwrap(), "http://127.0.0.1:80");
        assert_eq!(read("https://[::1]:7").unwrap(), "https://[::1]:7");
        for wrong in
            ["box:7777", "ftp://a", "https://", "https://a/b", "https://u:p@a", "https://a:x", "https://a?b"]
        {
            let message = read(wrong).unwrap_err().message;
            assert!(message.starts_with("cannot use") && !message.contains("u:p"), "{message}");
        }
    }
}
