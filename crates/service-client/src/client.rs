//! [`Client`]: blocking HTTP over the daemon's Unix socket, or over TCP to the daemon of another machine. Only this
//! file uses reqwest.
//!
//! A socket without a listener ([`Code::DaemonUnreachable`]) is distinguished from every other failure, because only
//! then a daemon is started.

use crate::connection::{CONNECT_TIMEOUT, Connection, tls_config};
use crate::daemon_address::DaemonAddress;
use reqwest::blocking::{Client as Http, RequestBuilder, Response};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url, header};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_api::endpoint::DaemonEndpoint;
use service_api::{Code, Envelope, Problem, routes};
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The time limit for connecting to a Unix socket, which accepts at once or has no listener.
const UNIX_CONNECT_TIMEOUT: Duration = Duration::from_millis(200);

/// The clients of a plugin process, one per daemon: building a client takes longer than a request. The mutex is held
/// only for a lookup.
#[derive(Default)]
pub struct Clients(Mutex<HashMap<DaemonAddress, Client>>);

impl Clients {
    /// The client for this socket, without connecting.
    ///
    /// # Errors
    /// The errors of [`Clients::for_address`].
    pub fn for_socket(&self, socket: &Path) -> Result<Client, Problem> {
        self.for_address(&DaemonAddress::local(socket))
    }

    /// The client for this address, without connecting.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if the URL or the `ca_file` cannot be used.
    pub fn for_address(&self, address: &DaemonAddress) -> Result<Client, Problem> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        let client = Client::new(address)?;
        clients.insert(address.clone(), client.clone());
        Ok(client)
    }
}

/// A client of one daemon. Cloning is cheap.
#[derive(Clone)]
pub struct Client {
    http: Http,
    address: Arc<DaemonAddress>,
    tls: Option<Arc<ClientConfig>>,
    limit: Option<Duration>,
    caller: Option<String>,
}

impl Client {
    fn new(address: &DaemonAddress) -> Result<Self, Problem> {
        let http = Http::builder()
            // A start may take any time; [`Worker`](service_nushell::interruptible::Worker) enforces the limit of a
            // call.
            .timeout(None)
            // Connections are not pooled: connecting is cheaper than detecting a connection to a daemon that has
            // exited.
            .pool_max_idle_per_host(0)
            // A token is for one daemon and must not be sent to another server.
            .redirect(Policy::none())
            .no_proxy();
        let (http, tls) = match &address.endpoint {
            DaemonEndpoint::Unix(socket) => {
                // A Unix socket needs no TLS, so the machine's certificates are not read.
                (
                    http.unix_socket(socket.as_path())
                        .connect_timeout(UNIX_CONNECT_TIMEOUT)
                        .tls_certs_only([]),
                    None,
                )
            }
            DaemonEndpoint::Tcp(remote) if remote.tls => {
                let tls = tls_config(address.ca_file.as_deref())?;
                let http = http.connect_timeout(CONNECT_TIMEOUT).tls_backend_preconfigured(tls.clone());
                (http, Some(Arc::new(tls)))
            }
            DaemonEndpoint::Tcp(_) => (http.connect_timeout(CONNECT_TIMEOUT).tls_certs_only([]), None),
        };
        let http = http.build().map_err(|error| {
            Problem::new(Code::Internal, format!("cannot connect to a daemon: {}", root(&error)))
        })?;
        Ok(Self { http, address: Arc::new(address.clone()), tls, limit: None, caller: None })
    }

    /// Whether the daemon runs on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.address.endpoint, DaemonEndpoint::Unix(_))
    }

    /// The same client with a time limit for each request.
    #[must_use]
    pub fn with_timeout(&self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self.clone() }
    }

    /// The same client with the kind of the caller, which it sends with each request.
    #[must_use]
    pub fn acting_as(self, caller: Option<String>) -> Self {
        Self { caller, ..self }
    }

    /// Opens a bare connection. Also returns the headers that each request on it needs.
    ///
    /// # Errors
    /// [`Code::DaemonUnreachable`] if no daemon responds.
    pub fn connect(&self) -> Result<(Connection, String), Problem> {
        let connection = Connection::connect(&self.address, self.tls.as_ref())
            .map_err(|error| self.connection_error(&error))?;
        let host = match &self.address.endpoint {
            DaemonEndpoint::Unix(_) => "localhost".to_owned(),
            DaemonEndpoint::Tcp(remote) => remote.authority(),
        };
        let token = self.address.token.iter().map(|token| format!("authorization: Bearer {token}\r\n"));
        Ok((connection, format!("host: {host}\r\n{}", token.collect::<String>())))
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// The problem in the response; [`Code::DaemonUnreachable`] if no daemon responds.
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Problem> {
        self.answer(self.send(self.http.get(self.url(path, query)?))?)
    }

    /// Sends a GET request. Also returns the notes of the response.
    ///
    /// # Errors
    /// The errors of [`Client::get`].
    pub fn get_with_notes<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, Vec<String>), Problem> {
        let response = self.send(self.http.get(self.url(path, query)?))?;
        let json = response.bytes().map_err(|error| self.request_error(&error))?;
        let mut envelope: Envelope<T> = open(&json)?;
        let notes = std::mem::take(&mut envelope.notes);
        let answer = envelope.into_result().map_err(|problem| self.localize(problem))?;
        Ok((answer, notes))
    }

    /// Sends a POST request with a single response.
    ///
    /// # Errors
    /// The errors of [`Client::get`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Problem> {
        self.answer(self.send(self.http.post(self.url(path, query)?))?)
    }

    /// Sends a POST request whose response is a stream of rows. Returns once the daemon has accepted it.
    ///
    /// # Errors
    /// The errors of [`Client::get`], if the daemon refuses the request.
    pub fn stream<T: DeserializeOwned, B: Serialize>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<impl Iterator<Item = Result<T, Problem>> + use<T, B>, Problem> {
        let request = self.http.post(self.url(path, &[])?).header(header::ACCEPT, routes::NDJSON).json(body);
        let request = match &self.caller {
            Some(caller) => request.header(routes::CALLER, caller),
            None => request,
        };
        Ok(non_empty_lines(self.accepted(self.send(request)?)?).map(|line| decode(line?.as_bytes())))
    }

    /// Requests server-sent events and returns their lines, until the daemon ends.
    ///
    /// # Errors
    /// The errors of [`Client::get`], if the daemon refuses the request.
    pub fn follow(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<impl Iterator<Item = Result<String, Problem>> + use<>, Problem> {
        let request = self.http.get(self.url(path, query)?).header(header::ACCEPT, routes::SSE);
        let response = self.accepted(self.send(request)?)?;
        Ok(BufReader::new(response).lines().map(|line| line.map_err(|_| daemon_ended())))
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, Problem> {
        let request = match self.limit {
            Some(limit) => request.timeout(limit),
            None => request,
        };
        let request = match &self.address.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().map_err(|error| self.request_error(&error))?;
        if response.status().is_redirection() {
            return Err(self.redirect_error(response.status()));
        }
        Ok(response)
    }

    /// The error of a redirect. A daemon never redirects, and the token must not be sent to another server.
    fn redirect_error(&self, status: StatusCode) -> Problem {
        let address = match &self.address.endpoint {
            DaemonEndpoint::Unix(socket) => socket.display().to_string(),
            DaemonEndpoint::Tcp(remote) => remote.to_string(),
        };
        let message = format!("cannot reach `{address}`: it answers with a redirect ({status})");
        Problem::new(Code::DaemonUnreachable, message)
            .help("something else answers there, such as a proxy or a login page: correct the address")
    }

    /// The URL of a request. A host name of valid characters may still be invalid, such as `256.1.1.1`.
    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, Problem> {
        let base = match &self.address.endpoint {
            DaemonEndpoint::Unix(_) => "http://localhost".to_owned(),
            DaemonEndpoint::Tcp(remote) => remote.to_string(),
        };
        Url::parse(&format!("{base}{}", target(path, query))).map_err(|error| {
            Problem::new(Code::BadRequest, format!("cannot reach `{base}`: {error}"))
                .help("correct `url` in `$env.config.plugins.service`")
        })
    }

    /// Returns the response, or the problem of an error response.
    fn accepted(&self, response: Response) -> Result<Response, Problem> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(self.answer::<serde_json::Value>(response).err().unwrap_or_else(|| {
            Problem::new(Code::Internal, format!("the daemon refused with HTTP status {status}"))
        }))
    }

    fn answer<T: DeserializeOwned>(&self, response: Response) -> Result<T, Problem> {
        decode(&response.bytes().map_err(|error| self.request_error(&error))?)
            .map_err(|problem| self.localize(problem))
    }

    fn request_error(&self, error: &reqwest::Error) -> Problem {
        let cause = root(error);
        match &self.address.endpoint {
            DaemonEndpoint::Tcp(_) if error.is_connect() || is_about_tls(error) => {
                self.connection_error(cause)
            }
            DaemonEndpoint::Unix(_) if error.is_connect() => {
                Problem::new(Code::DaemonUnreachable, format!("cannot connect to the daemon: {cause}"))
            }
            _ if error.is_timeout() => Problem::new(Code::Timeout, "the daemon did not answer in time"),
            DaemonEndpoint::Tcp(remote) if !remote.tls && (error.is_request() || error.is_body()) => {
                daemon_ended().help("write `https://` if its [orchestrator.api] has `tls`")
            }
            // An exiting daemon closes its open connections. The socket of a daemon that was just killed may still
            // accept some.
            _ if error.is_request() || error.is_body() => daemon_ended(),
            _ => Problem::new(Code::Internal, format!("cannot talk to the daemon: {cause}")),
        }
    }

    /// The error for a daemon that was not reached or is not trusted.
    pub fn connection_error(&self, error: &(dyn Error + 'static)) -> Problem {
        let DaemonEndpoint::Tcp(remote) = &self.address.endpoint else {
            return Problem::new(Code::DaemonUnreachable, format!("cannot connect to the daemon: {error}"));
        };
        let why = error.to_string();
        let (what, help) = if why.contains("certificate") {
            (
                "trust",
                "name the certificate of its authority in `ca_file`, and use a host name of its certificate",
            )
        } else if why.contains("InvalidContentType") || why.contains("corrupt message") {
            ("use TLS with", "write `http://` if its [orchestrator.api] has no `tls`")
        } else if why.contains("timed out") {
            ("reach", "check that the host is on, and that no firewall blocks this port")
        } else {
            (
                "reach",
                "check that a daemon runs there, with `listen` in [orchestrator.api]: see `service daemon \
                 status` there",
            )
        };
        Problem::new(Code::DaemonUnreachable, format!("cannot {what} `{remote}`: {why}")).help(help)
    }

    /// Rewrites a problem for a remote user: the daemon names its own token file, but the wrong token is in a file of
    /// this machine.
    pub fn localize(&self, problem: Problem) -> Problem {
        match (&self.address.endpoint, problem.code) {
            (DaemonEndpoint::Tcp(remote), Code::Unauthorized) => {
                let message = format!("cannot use `{remote}`: {}", problem.message);
                Problem::new(Code::Unauthorized, message).help(
                    "copy `tokens/read` or `tokens/admin` of the remote state directory into \
                           `token_file`",
                )
            }
            _ => problem,
        }
    }
}

/// Whether the TLS handshake failed, which happens while the request is sent.
fn is_about_tls(error: &reqwest::Error) -> bool {
    let why = root(error).to_string();
    error.is_request() && (why.contains("certificate") || why.contains("corrupt message"))
}

/// The path of a route of one service.
pub fn service_path(route: &str, service: &str) -> String {
    route.replace("{name}", &encode(service))
}

/// Percent-encodes all characters that may end a path segment or a query value.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b',') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}"); // writing to a string cannot fail
        }
        encoded
    })
}

/// Path and query. Empty values are left out.
pub fn target(path: &str, query: &[(&str, &str)]) -> String {
    let said = query.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = said.map(|(key, value)| format!("{key}={}", encode(value))).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{path}{mark}{}", query.join("&"))
}

/// The lines of a response that are not blank.
fn non_empty_lines(response: Response) -> impl Iterator<Item = Result<String, Problem>> {
    let lines = BufReader::new(response).lines();
    lines
        .filter(|line| !matches!(line, Ok(text) if text.trim().is_empty()))
        .map(|line| line.map_err(|_| daemon_ended()))
}

fn daemon_ended() -> Problem {
    Problem::new(Code::DaemonUnreachable, "the daemon ended before it answered")
        .help("services keep running; `service status` shows their states")
}

/// Extracts the data, or the problem, from an envelope.
///
/// # Errors
/// The problem in the response; [`Code::Internal`] if the response is not an envelope.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    open::<T>(json)?.into_result()
}

fn open<T: DeserializeOwned>(json: &[u8]) -> Result<Envelope<T>, Problem> {
    serde_json::from_slice(json).map_err(|error| {
        let text = String::from_utf8_lossy(json);
        let start: String = text.trim().chars().take(80).collect();
        Problem::new(Code::Internal, format!("cannot understand the daemon's answer `{start}`: {error}"))
    })
}

fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    error.source().map_or(error, root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock_daemon::{MockDaemon, MockReply};
    use service_api::endpoint::TcpEndpoint;
    use service_api::{ActionRequest, Outcome, view};

    fn request_version(daemon: &MockDaemon) -> Result<view::Version, Problem> {
        Client::new(&DaemonAddress::local(&daemon.socket))?
            .with_timeout(Duration::from_millis(100))
            .get(routes::VERSION, &[])
    }

    #[test]
    fn a_name_is_encoded_and_a_failure_is_taken_out_of_its_envelope() {
        let daemon = MockDaemon::serving(|_| MockReply::failure(404, "not_found", "no `a/b`"));
        let client = Client::new(&DaemonAddress::local(&daemon.socket)).unwrap();
        let path = service_path(routes::SERVICE_LOGS, "a/b");
        let problem = client
            .get::<Vec<view::LogLine>>(&path, &[("tail", "5"), ("names", ""), ("since", "1:2")])
            .unwrap_err();
        assert_eq!((problem.code, problem.message.as_str()), (Code::NotFound, "no `a/b`"));
        assert!(daemon.requests()[0].starts_with("GET /api/v1/services/a%2Fb/logs?tail=5&since=1%3A2 "));
    }

    #[test]
    fn a_redirect_is_named_and_not_followed() {
        for status in [301, 302, 303, 307, 308] {
            let daemon = MockDaemon::serving(move |_| MockReply::Json(status, String::new()));
            let problem = request_version(&daemon).unwrap_err();
            assert_eq!(problem.code, Code::DaemonUnreachable);
            assert!(problem.message.contains(&format!("a redirect ({status} ")), "{}", problem.message);
            assert_eq!(daemon.requests().len(), 1);
        }
    }

    #[test]
    fn only_a_socket_nobody_listens_on_is_unreachable() {
        let missing = Client::new(&DaemonAddress::local(Path::new("/nowhere/d.sock"))).unwrap();
        let problem = missing.get::<view::Version>(routes::VERSION, &[]).unwrap_err();
        assert_eq!(problem.code, Code::DaemonUnreachable);
        assert_eq!(
            request_version(&MockDaemon::serving(|_| MockReply::Silence)).unwrap_err().code,
            Code::Timeout
        );
        let odd =
            request_version(&MockDaemon::serving(|_| MockReply::Json(200, "hello".into()))).unwrap_err();
        assert_eq!(odd.code, Code::Internal);
        assert!(odd.message.starts_with("cannot understand the daemon's answer `hello`"), "{}", odd.message);
    }

    #[test]
    fn a_host_that_cannot_be_is_a_problem_and_no_panic() {
        for url in ["http://256.1.1.1:7", "https://[1:2]", "http://xn--a.b"] {
            let endpoint = DaemonEndpoint::Tcp(TcpEndpoint::parse(url).unwrap());
            let client = Client::new(&DaemonAddress { endpoint, token: None, ca_file: None }).unwrap();
            let problem = client.get::<view::Version>(routes::VERSION, &[]).unwrap_err();
            assert_eq!(problem.code, Code::BadRequest, "{url}: {}", problem.message);
        }
    }

    #[test]
    fn a_row_is_there_before_the_next_one_is_sent() {
        let (say, rows) = std::sync::mpsc::channel();
        let mut rows = Some(rows);
        let daemon = MockDaemon::serving(move |_| MockReply::Rows(rows.take().unwrap()));
        let client = Client::new(&DaemonAddress::local(&daemon.socket)).unwrap();
        let mut outcomes =
            client.stream::<Outcome, ActionRequest>(routes::START, &ActionRequest::default()).unwrap();
        for name in ["a", "b"] {
            say.send(crate::mock_daemon::outcome(name, true)).unwrap();
            assert_eq!(outcomes.next().unwrap().unwrap().name, name);
        }
        drop(say);
        assert!(outcomes.next().is_none());
        assert!(daemon.requests()[0].contains("accept: application/x-ndjson"));
    }

    #[test]
    fn a_daemon_that_ends_in_the_middle_of_its_answer_is_noticed() {
        let (say, rows) = std::sync::mpsc::channel();
        let mut rows = Some(rows);
        let daemon = MockDaemon::serving(move |_| MockReply::Rows(rows.take().unwrap()));
        let client = Client::new(&DaemonAddress::local(&daemon.socket)).unwrap();
        say.send(crate::mock_daemon::CRASH.into()).unwrap();
        let mut outcomes =
            client.stream::<Outcome, ActionRequest>(routes::START, &ActionRequest::default()).unwrap();
        assert_eq!(outcomes.next().unwrap().unwrap_err().code, Code::DaemonUnreachable);
    }

    #[test]
    fn a_refused_request_has_no_rows() {
        let daemon = MockDaemon::serving(|_| MockReply::failure(409, "manager_disabled", "no"));
        let client = Client::new(&DaemonAddress::local(&daemon.socket)).unwrap();
        let refused =
            client.stream::<Outcome, ActionRequest>(routes::START, &ActionRequest::default()).err().unwrap();
        assert_eq!(refused.code, Code::ManagerDisabled);
    }
}
