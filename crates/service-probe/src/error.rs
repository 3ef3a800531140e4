//! Why a check fails: [`ProbeError`], by kind of endpoint. It becomes a [`CheckText`] in one place.

use super::holder::Holder;
use service_core::health::CheckFault;
use service_host::text::{CheckText, describe_io_error};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Why a check of an endpoint fails, other than by its command.
#[derive(Debug, Error)]
pub(super) enum ProbeError {
    /// The name of the host has no address.
    #[error(transparent)]
    Lookup(#[from] Arc<LookupError>),
    #[error("{address} has no port")]
    NoPort { address: String },
    /// No connection was accepted.
    #[error("{}{}{}", cannot_connect(endpoint, error), list_addresses(addresses), describe_places(listens_on.as_deref()))]
    Connect {
        endpoint: String,
        error: io::Error,
        /// The addresses of the host's name; empty if the endpoint has an address.
        addresses: Vec<IpAddr>,
        /// The places where the service listens, if they are known.
        listens_on: Option<Vec<String>>,
    },
    /// Another process listens on the port of the service.
    #[error(transparent)]
    ForeignListener(#[from] ForeignListener),
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[cfg(feature = "http")]
    #[error(transparent)]
    Tls(#[from] super::tls::TlsError),
    #[cfg(feature = "http")]
    #[error(transparent)]
    Http(#[from] super::http_error::HttpError),
    #[cfg(not(feature = "http"))]
    #[error("this build cannot check HTTP endpoints")]
    NoHttp,
    #[error("no answer from {endpoint} within {limit:?}")]
    Timeout { endpoint: String, limit: Duration },
}

/// Why a host has no address.
#[derive(Debug, Error)]
pub(super) enum LookupError {
    #[error("cannot look up `{host}`: the lookup was aborted")]
    Aborted { host: String },
    #[error("cannot look up `{host}`: {error}")]
    Thread { host: String, error: io::Error },
    #[error("cannot look up `{host}`: {}", without_prefix(error))]
    Resolver { host: String, error: io::Error },
    #[error("`{host}` has no address")]
    NoAddress { host: String },
}

/// A process that is not the service's, and listens on its port.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "port {} is held by {holder} at {at}, not by this service; if that is intended, set `listener = \"any\"`",
    at.port()
)]
pub(super) struct ForeignListener {
    pub(super) at: SocketAddr,
    pub(super) holder: Holder,
}

/// Why a name server gives no address.
#[derive(Debug, Error)]
pub(super) enum DnsError {
    #[error("`{name}` is not a DNS name: {error}")]
    Name { name: String, error: hickory_proto::ProtoError },
    #[error("cannot build a query for {name}: {error}")]
    Encode { name: String, error: hickory_proto::ProtoError },
    #[error("{server} has no port")]
    NoPort { server: String },
    #[error("{host} has no address")]
    NoServer { host: String },
    #[error("cannot query {server} for {name}: {}", describe_io_error(error))]
    Exchange { server: SocketAddr, name: String, error: io::Error },
    #[error("{server} has no address for {name}")]
    NoRecord { server: SocketAddr, name: String },
    #[error("{server} answered for {name}: {code}")]
    Code { server: SocketAddr, name: String, code: hickory_proto::op::ResponseCode },
}

impl ProbeError {
    /// An endpoint without a listener.
    pub(super) fn not_connected(endpoint: &str, error: io::Error) -> Self {
        Self::Connect { endpoint: endpoint.to_owned(), error, addresses: Vec::new(), listens_on: None }
    }

    /// What keeps the check from passing, beside the health of the service.
    fn fault(&self) -> Option<CheckFault> {
        match self {
            Self::Timeout { .. } => Some(CheckFault::Timeout),
            #[cfg(feature = "http")]
            Self::Tls(error) => error.is_about_certificate().then_some(CheckFault::Certificate),
            _ => None,
        }
    }
}

impl From<ProbeError> for CheckText {
    fn from(error: ProbeError) -> Self {
        Self::from(error.to_string()).with_fault(error.fault())
    }
}

/// The error of an endpoint without a listener.
fn cannot_connect(endpoint: &str, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => format!("connection refused at {endpoint}"),
        _ => format!("cannot connect to {endpoint}: {}", describe_io_error(error)),
    }
}

fn list_addresses(addresses: &[IpAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    if addresses.is_empty() { String::new() } else { format!(" ({})", addresses.join(", ")) }
}

/// The places where a service listens instead, shortened to fit a sentence.
fn describe_places(places: Option<&[String]>) -> String {
    const MAX_PLACES: usize = 3;
    match places {
        None => String::new(),
        Some([]) => "; it listens on no port".to_owned(),
        Some(places) => {
            let shown = &places[..places.len().min(MAX_PLACES)];
            let others = places.len() - shown.len();
            let others = if others > 0 { format!(" and {others} more") } else { String::new() };
            format!("; it listens on {}{others}", shown.join(", "))
        }
    }
}

/// The answer of the resolver, without the words with which the standard library begins it.
fn without_prefix(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_three_places() {
        let places = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>();
        assert_eq!(describe_places(None), "");
        assert_eq!(describe_places(Some(&[])), "; it listens on no port");
        assert_eq!(describe_places(Some(&places(&[81, 82]))), "; it listens on 81, 82");
        assert_eq!(describe_places(Some(&places(&[1, 2, 3, 4, 5]))), "; it listens on 1, 2, 3 and 2 more");
    }
}
