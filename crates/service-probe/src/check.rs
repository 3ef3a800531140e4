//! [`Prober`]: checks the endpoint of a service with one request, within the timeout. The result has a message, a
//! latency and a time.

use super::connect::Reach;
use super::endpoint_url;
use super::error::ProbeError;
use super::holder::Holder;
#[cfg(feature = "http")]
use super::http;
use super::names::Names;
use super::port_owner::{self, PortOwners};
use super::port_watcher::PortWatcher;
#[cfg(feature = "http")]
use super::tls::Trust;
use super::{dns, socket};
use service_core::config::{Listener, Service};
use service_core::health::Endpoint;
use service_host::clock;
use service_host::descriptors::DescriptorBudget;
use service_host::local_address::local_addresses;
use service_host::paths::Paths;
use service_host::report::CheckResult;
use service_host::text::MAX_MESSAGE_CHARS;
use service_host::text::{CheckText, truncate};
use service_process::command;
use service_process::process_group::Purpose;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Checks the endpoints of services. Cheap to clone: clones share running name lookups and the machine's certificates.
/// Checks never share a connection.
#[derive(Debug, Clone)]
pub struct Prober {
    paths: Arc<Paths>,
    names: Names,
    #[cfg(feature = "http")]
    trust: Arc<Trust>,
    ports: PortWatcher,
    owners: Arc<PortOwners>,
    /// The limit of concurrent checks of endpoints, which depends on the number of descriptors.
    permits: Arc<Semaphore>,
}

impl Prober {
    /// Creates a prober for these paths.
    pub fn new(paths: Arc<Paths>) -> Self {
        let permits = Arc::new(Semaphore::new(DescriptorBudget::now().checks()));
        let (names, ports, owners) = Default::default();
        #[cfg(feature = "http")]
        let trust = Arc::default();
        Self {
            paths,
            names,
            #[cfg(feature = "http")]
            trust,
            ports,
            owners,
            permits,
        }
    }

    /// Whether this build can check such an endpoint: HTTP and HTTPS need the feature `http`.
    pub fn supports(endpoint: &Endpoint) -> bool {
        cfg!(feature = "http") || !matches!(endpoint, Endpoint::Http(_) | Endpoint::Https(_))
    }

    /// Checks an endpoint of a service once. `shim` is the root of the service's process tree.
    pub async fn check(&self, service: &Service, endpoint: &Endpoint, shim: Option<u32>) -> CheckResult {
        let _permit = self.permits.acquire().await;
        let began = clock::now();
        let answer = self.probe(service, endpoint, shim).await;
        CheckResult::new(endpoint.kind(), answer, &service.env, began)
    }

    /// Sends the request, within the time limit of a check.
    async fn probe(
        &self,
        service: &Service,
        endpoint: &Endpoint,
        shim: Option<u32>,
    ) -> Result<CheckText, CheckText> {
        let limit = service.health.timeout;
        // The port must belong to the service, unless `health.listener` allows any process.
        let own = shim.filter(|_| service.health.listener == Listener::Own);
        let shown = match endpoint {
            Endpoint::Http(url) | Endpoint::Https(url) => endpoint_url::describe_url(url),
            endpoint => truncate(&endpoint.to_string(), MAX_MESSAGE_CHARS / 2),
        };
        let question = async {
            let answer = match endpoint {
                Endpoint::Http(url) | Endpoint::Https(url) => self.get(service, url, own).await,
                Endpoint::Tcp(address) => {
                    let no_port = || ProbeError::NoPort { address: address.clone() };
                    let (host, port) = port_of(endpoint).ok_or_else(no_port)?;
                    let (names, shown, host) = (&self.names, &*shown, &*host);
                    socket::tcp(&Reach { names, owners: &self.owners, shown, host, port, shim: own, limit })
                        .await
                }
                Endpoint::Unix(name) => socket::unix(name, &shown).await,
                Endpoint::Dns { server, name } => dns::query_server(&self.names, server, name).await,
                Endpoint::Exec(command) => {
                    return command::run(&self.paths, service, command, Purpose::Query, limit).await;
                }
            };
            answer.map(CheckText::from).map_err(CheckText::from)
        };
        let answer = tokio::time::timeout(limit, question).await;
        answer.unwrap_or_else(|_| Err(ProbeError::Timeout { endpoint: shown.clone(), limit }.into()))
    }

    #[cfg(feature = "http")]
    async fn get(&self, service: &Service, url: &str, shim: Option<u32>) -> Result<String, ProbeError> {
        let (names, trust, health) = (&self.names, &self.trust, &service.health);
        http::Asks { names, owners: &self.owners, trust, health, base: &self.paths.base_dir, shim }
            .get(url)
            .await
    }

    #[cfg(not(feature = "http"))]
    #[expect(clippy::unused_async, reason = "as with the feature")]
    async fn get(&self, _service: &Service, _url: &str, _shim: Option<u32>) -> Result<String, ProbeError> {
        Err(ProbeError::NoHttp)
    }

    /// Returns when a process listens on the local port of a starting service; `false` if that cannot be determined.
    pub fn watch_port(&self, service: &Service) -> Option<impl Future<Output = bool> + Send + use<>> {
        let (host, port) = port_of(service.endpoint.as_ref()?)?;
        if local_addresses(&host).is_empty() {
            return None;
        }
        let ports = self.ports.clone();
        Some(async move { ports.listens(port).await })
    }
}

/// The process that holds the service's port. `shim` is the root of the service's process tree.
pub fn foreign_listener(endpoint: &Endpoint, shim: Option<u32>) -> Option<Holder> {
    let (host, port) = port_of(endpoint)?;
    port_owner::foreign_listener(shim, &host, port)
}

fn port_of(endpoint: &Endpoint) -> Option<(String, u16)> {
    match endpoint {
        Endpoint::Http(url) | Endpoint::Https(url) => endpoint_url::host_and_port(url),
        Endpoint::Tcp(address) => {
            address.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
        }
        Endpoint::Unix(_) | Endpoint::Dns { .. } | Endpoint::Exec(_) => None,
    }
}
