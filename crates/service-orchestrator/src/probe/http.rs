//! `http://` and `https://`: a GET whose status is accepted. Redirects are followed on the same host only.

use reqwest::redirect::{Attempt, Policy};
use reqwest::{ClientBuilder, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Redirects followed on one host.
const MOST_REDIRECTS: usize = 5;
/// Idle connections are kept this long for the next check.
const KEEP: Duration = Duration::from_secs(30);

/// The client of all checks. It asks directly, whatever proxy the environment names.
#[derive(Clone)]
pub(crate) struct Client {
    plain: reqwest::Client,
    /// Made for the first `https://`: whom the machine trusts is read from hundreds of files, or is not there at all.
    trusting: Arc<OnceCell<reqwest::Client>>,
}

impl Client {
    pub(crate) fn new() -> reqwest::Result<Self> {
        Ok(Self { plain: builder().tls_certs_only([]).build()?, trusting: Arc::default() })
    }

    async fn of(&self, url: &str) -> Result<&reqwest::Client, String> {
        if !url.starts_with("https:") {
            return Ok(&self.plain);
        }
        let make = async || match tokio::task::spawn_blocking(|| builder().build()).await {
            Ok(client) => client.map_err(|error| {
                let why = cause(&error);
                let why = why.trim_start_matches("unexpected error: ");
                format!(
                    "whom to trust is not known: {why}; install them, or name their file in $SSL_CERT_FILE"
                )
            }),
            Err(error) => Err(error.to_string()),
        };
        self.trusting.get_or_try_init(make).await
    }
}

fn builder() -> ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("service-orchestrator/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(KEEP)
        .redirect(Policy::custom(within_host))
}

fn within_host(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let first = attempt.previous().first();
    let same = first.is_some_and(|first| {
        (first.host_str(), first.port_or_known_default())
            == (attempt.url().host_str(), attempt.url().port_or_known_default())
    });
    if same && attempt.previous().len() <= MOST_REDIRECTS { attempt.follow() } else { attempt.stop() }
}

/// Where a URL leads.
pub(super) fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url = reqwest::Url::parse(url).ok()?;
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

/// Why nobody can ever be asked at this URL.
pub(crate) fn never_asked(url: &str) -> Option<String> {
    match reqwest::Url::parse(url) {
        Ok(url) if url.port() == Some(0) => Some("nobody listens on port 0".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Asks once, and also says who was reached. The body is not read: how much of it there is says nothing about health.
pub(super) async fn get(
    client: &Client,
    url: &str,
    accepted: &[u16],
) -> Result<(String, Option<SocketAddr>), String> {
    let client = client.of(url).await?;
    let response = match client.get(url).send().await {
        // A kept connection may turn out to be no good, which says nothing of the service.
        Err(error) if error.is_request() && !error.is_connect() && !error.is_timeout() => {
            client.get(url).send().await
        }
        answer => answer,
    };
    let response = response.map_err(|error| cause(&error))?;
    let status = response.status();
    let accepts = if accepted.is_empty() { status.is_success() } else { accepted.contains(&status.as_u16()) };
    let said = said(status);
    match (accepts, response.headers().get("location").and_then(|to| to.to_str().ok())) {
        (true, _) => Ok((said, response.remote_addr())),
        (false, Some(to)) if status.is_redirection() => {
            let host = |url: &reqwest::Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
            let here = response.url();
            let same = here.join(to).is_ok_and(|target| host(&target) == host(here));
            let why = if same { "redirected too often" } else { "not followed to another host" };
            Err(format!("{said}, to {to}: {why}"))
        }
        (false, _) => Err(said),
    }
}

fn said(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    }
}

/// The innermost cause: what the user can do something about.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
