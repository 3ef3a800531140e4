//! [`Client`]: HTTP over the daemon's Unix socket, or over TCP to another machine's, blocking, and the only place that names reqwest.
//!
//! It tells "nobody listens there" ([`Code::DaemonUnreachable`]) from every other failure, because that one alone is a
//! reason to start a daemon.

use crate::daemon_address::DaemonAddress;
use crate::wire::{REACHED_WITHIN, Wire, trust};
use reqwest::blocking::{Client as Http, RequestBuilder, Response};
use reqwest::redirect::Policy;
use reqwest::{Url, header};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_api::endpoint::Endpoint;
use service_api::{Code, Envelope, Problem, routes};
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A Unix socket answers at once or is not there.
const CONNECT_WITHIN: Duration = Duration::from_millis(200);

/// The clients of a plugin's life, one a daemon: building one costs more than asking with it. A mutex is right here:
/// it is held for a lookup only.
#[derive(Default)]
pub(crate) struct Clients(Mutex<HashMap<DaemonAddress, Client>>);

impl Clients {
    /// The client of this socket; nothing is connected yet.
    pub(crate) fn of(&self, socket: &Path) -> Result<Client, Problem> {
        self.to(&DaemonAddress::local(socket))
    }

    /// The client of whoever is at the end of this way; nothing is connected yet.
    pub(crate) fn to(&self, way: &DaemonAddress) -> Result<Client, Problem> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(way) {
            return Ok(client.clone());
        }
        let client = Client::new(way)?;
        clients.insert(way.clone(), client.clone());
        Ok(client)
    }
}

/// A client of one daemon. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Client {
    http: Http,
    way: Arc<DaemonAddress>,
    tls: Option<Arc<ClientConfig>>,
    limit: Option<Duration>,
    caller: Option<String>,
}

impl Client {
    fn new(way: &DaemonAddress) -> Result<Self, Problem> {
        let http = Http::builder()
            // A start may take as long as it takes; the caller's patience is in `cancel`.
            .timeout(None)
            // Connecting is cheaper than finding out that a kept connection belonged to a daemon that is gone.
            .pool_max_idle_per_host(0)
            // A token is for one daemon, and goes nowhere else.
            .redirect(Policy::none())
            .no_proxy();
        let (http, tls) = match &way.endpoint {
            Endpoint::Unix(socket) => {
                // No TLS on a Unix socket: skip reading the machine's certificates.
                (http.unix_socket(socket.as_path()).connect_timeout(CONNECT_WITHIN).tls_certs_only([]), None)
            }
            Endpoint::Tcp(remote) if remote.tls => {
                let tls = trust(way.ca_file.as_deref())?;
                let http = http.connect_timeout(REACHED_WITHIN).tls_backend_preconfigured(tls.clone());
                (http, Some(Arc::new(tls)))
            }
            Endpoint::Tcp(_) => (http.connect_timeout(REACHED_WITHIN).tls_certs_only([]), None),
        };
        let http = http.build().map_err(|error| {
            Problem::new(Code::Internal, format!("cannot connect to a daemon: {}", root(&error)))
        })?;
        Ok(Self { http, way: Arc::new(way.clone()), tls, limit: None, caller: None })
    }

    /// The same client, less patient: each of its requests is over after `limit`.
    pub(crate) fn within(&self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self.clone() }
    }

    /// The same client, that says what it is on whose behalf it wishes something.
    pub(crate) fn acting_as(self, caller: Option<String>) -> Self {
        Self { caller, ..self }
    }

    /// A connection of its own, and what a request has to say there beside what it asks for.
    pub(crate) fn wire(&self) -> Result<(Wire, String), Problem> {
        let wire = Wire::connect(&self.way, self.tls.as_ref()).map_err(|error| self.unreached(&error))?;
        let host = match &self.way.endpoint {
            Endpoint::Unix(_) => "localhost".to_owned(),
            Endpoint::Tcp(remote) => remote.authority(),
        };
        let token = self.way.token.iter().map(|token| format!("authorization: Bearer {token}\r\n"));
        Ok((wire, format!("host: {host}\r\n{}", token.collect::<String>())))
    }

    /// Asks for something.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Problem> {
        self.answer(self.send(self.http.get(self.url(path, query)?))?)
    }

    /// Asks for something, and hears what should be known along with it.
    pub(crate) fn noted<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, Vec<String>), Problem> {
        let response = self.send(self.http.get(self.url(path, query)?))?;
        let json = response.bytes().map_err(|error| self.broken(&error))?;
        let mut envelope: Envelope<T> = open(&json)?;
        let notes = std::mem::take(&mut envelope.notes);
        let answer = envelope.into_result().map_err(|problem| self.as_seen_from_here(problem))?;
        Ok((answer, notes))
    }

    /// Wishes something that has one answer.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Problem> {
        self.answer(self.send(self.http.post(self.url(path, query)?))?)
    }

    /// Wishes something whose answer comes row by row. Returns once the daemon has accepted the wish.
    pub(crate) fn stream<T: DeserializeOwned, B: Serialize>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<impl Iterator<Item = Result<T, Problem>> + use<T, B>, Problem> {
        let request = self.http.post(self.url(path, &[])?).header(header::ACCEPT, routes::NDJSON).json(body);
        let request = match &self.caller {
            Some(caller) => request.header(routes::CALLER, caller),
            None => request,
        };
        Ok(lines(self.accepted(self.send(request)?)?).map(|line| decode(line?.as_bytes())))
    }

    /// Asks for something that comes as server-sent events; gives their lines, for as long as the daemon goes on.
    pub(crate) fn follow(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<impl Iterator<Item = Result<String, Problem>> + use<>, Problem> {
        let request = self.http.get(self.url(path, query)?).header(header::ACCEPT, routes::SSE);
        let response = self.accepted(self.send(request)?)?;
        Ok(BufReader::new(response).lines().map(|line| line.map_err(|_| broken_off())))
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, Problem> {
        let request = match self.limit {
            Some(limit) => request.timeout(limit),
            None => request,
        };
        let request = match &self.way.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().map_err(|error| self.broken(&error))
    }

    /// A host can be made of fitting letters and yet be none, such as `256.1.1.1`.
    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, Problem> {
        let base = match &self.way.endpoint {
            Endpoint::Unix(_) => "http://localhost".to_owned(),
            Endpoint::Tcp(remote) => remote.to_string(),
        };
        Url::parse(&format!("{base}{}", target(path, query))).map_err(|error| {
            Problem::new(Code::BadRequest, format!("cannot reach `{base}`: {error}"))
                .help("correct `url` in `$env.config.plugins.service`")
        })
    }

    /// The answer, unless it is a refusal.
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
        decode(&response.bytes().map_err(|error| self.broken(&error))?)
            .map_err(|problem| self.as_seen_from_here(problem))
    }

    fn broken(&self, error: &reqwest::Error) -> Problem {
        let cause = root(error);
        match &self.way.endpoint {
            Endpoint::Tcp(_) if error.is_connect() || is_about_tls(error) => self.unreached(cause),
            Endpoint::Unix(_) if error.is_connect() => {
                Problem::new(Code::DaemonUnreachable, format!("cannot connect to the daemon: {cause}"))
            }
            _ if error.is_timeout() => Problem::new(Code::Timeout, "the daemon did not answer in time"),
            Endpoint::Tcp(remote) if !remote.tls && (error.is_request() || error.is_body()) => {
                broken_off().help("write `https://` if its [orchestrator.api] has `tls`")
            }
            // One that ends hangs up on those it had not answered yet; one that was killed just now still lets in who comes.
            _ if error.is_request() || error.is_body() => broken_off(),
            _ => Problem::new(Code::Internal, format!("cannot talk to the daemon: {cause}")),
        }
    }

    /// Nobody was reached, or somebody who cannot be trusted.
    pub(crate) fn unreached(&self, error: &(dyn Error + 'static)) -> Problem {
        let Endpoint::Tcp(remote) = &self.way.endpoint else {
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

    /// A daemon speaks of its own files; a token that it does not know is in one of ours.
    pub(crate) fn as_seen_from_here(&self, problem: Problem) -> Problem {
        match (&self.way.endpoint, problem.code) {
            (Endpoint::Tcp(remote), Code::Unauthorized) => {
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

/// Whether TLS was not agreed on, which is found out while a request is sent.
fn is_about_tls(error: &reqwest::Error) -> bool {
    let why = root(error).to_string();
    error.is_request() && (why.contains("certificate") || why.contains("corrupt message"))
}

/// A route of one service, with its name in place.
pub(crate) fn path_of(route: &str, service: &str) -> String {
    route.replace("{name}", &encode(service))
}

/// Percent-encodes what could end a path segment or a query value.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b',') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}"); // a String takes everything
        }
        encoded
    })
}

/// Path and query. An empty value says nothing, so it is left out.
pub(crate) fn target(path: &str, query: &[(&str, &str)]) -> String {
    let said = query.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = said.map(|(key, value)| format!("{key}={}", encode(value))).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{path}{mark}{}", query.join("&"))
}

/// The lines of an answer that say something.
fn lines(response: Response) -> impl Iterator<Item = Result<String, Problem>> {
    let lines = BufReader::new(response).lines();
    lines
        .filter(|line| !matches!(line, Ok(text) if text.trim().is_empty()))
        .map(|line| line.map_err(|_| broken_off()))
}

fn broken_off() -> Problem {
    Problem::new(Code::DaemonUnreachable, "the daemon ended before it answered")
        .help("services keep running; `service status` shows how they are")
}

/// Opens an envelope.
pub(crate) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
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
    use crate::fake::{Daemon, Reply};
    use service_api::endpoint::Remote;
    use service_api::{Outcome, Wish, view};

    fn ask(daemon: &Daemon) -> Result<view::Version, Problem> {
        Client::new(&DaemonAddress::local(&daemon.socket))?
            .within(Duration::from_millis(100))
            .get(routes::VERSION, &[])
    }

    #[test]
    fn a_name_is_encoded_and_a_failure_is_taken_out_of_its_envelope() {
        let daemon = Daemon::serving(|_| Reply::failure(404, "not_found", "no `a/b`"));
        let client = Client::new(&DaemonAddress::local(&daemon.socket)).unwrap();
        let path = path_of(routes::SERVICE_LOGS, "a/b");
        let problem = client
            .get::<Vec<view::LogLine>>(&path, &[("tail", "5"), ("names", ""), ("since", "1:2")])
            .unwrap_err();
        assert_eq!((problem.code, problem.message.as_str()), (Code::NotFound, "no `a/b`"));
        assert!(daemon.heard()[0].starts_with("GET /api/v1/services/a%2Fb/logs?tail=5&since=1%3A2 "));
    }

    #[test]
    fn only_a_socket_nobody_listens_on_is_unreachable() {
        let missing = Client::new(&DaemonAddress::local(Path::new("/nowhere/d.sock"))).unwrap();
        let problem = missing.get::<view::Version>(routes::VERSION, &[]).unwrap_err();
        assert_eq!(problem.code, Code::DaemonUnreachable);
        assert_eq!(ask(&Daemon::serving(|_| Reply::Silence)).unwrap_err().code, Code::Timeout);
        let odd = ask(&Daemon::serving(|_| Reply::Json(200, "hello".into()))).unwrap_err();
        assert_eq!(odd.code, Code::Internal);
        assert!(odd.message.starts_with("cannot understand the daemon's answer `hello`"), "{}", odd.message);
    }

    #[test]
    fn a_host_that_cannot_be_is_a_problem_and_no_panic() {
        for url in ["http://256.1.1.1:7", "https://[1:2]", "http://xn--a.b"] {
            let endpoint = Endpoint::Tcp(Remote::parse(url).unwrap());
            let client = Client::new(&DaemonAddress { endpoint, token: None, ca_file: None }).unwrap();
            let problem = client.get::<view::Version>(routes::VERSION, &[]).unwrap_err();
            assert_eq!(problem.code, Code::BadRequest, "{url}: {}", problem.message);
        }
    }

    #[test]
    fn a_row_is_there_before_the_next_one_is_sent() {
        let (say, rows) = std::sync::mpsc::channel();
        let mut rows = Some(rows);
        let daemon = Daemon::serving(move |_| Reply::Rows(rows.take().unwrap()));
        let client = Client::new(&DaemonAddress::local(&daemon.socket)).unwrap();
        let mut outcomes = client.stream::<Outcome, Wish>(routes::START, &Wish::default()).unwrap();
        for name in ["a", "b"] {
            say.send(crate::fake::outcome(name, true)).unwrap();
            assert_eq!(outcomes.next().unwrap().unwrap().name, name);
        }
        drop(say);
        assert!(outcomes.next().is_none());
        assert!(daemon.heard()[0].contains("accept: application/x-ndjson"));
    }

    #[test]
    fn a_daemon_that_ends_in_the_middle_of_its_answer_is_noticed() {
        let (say, rows) = std::sync::mpsc::channel();
        let mut rows = Some(rows);
        let daemon = Daemon::serving(move |_| Reply::Rows(rows.take().unwrap()));
        let client = Client::new(&DaemonAddress::local(&daemon.socket)).unwrap();
        say.send(crate::fake::CRASH.into()).unwrap();
        let mut outcomes = client.stream::<Outcome, Wish>(routes::START, &Wish::default()).unwrap();
        assert_eq!(outcomes.next().unwrap().unwrap_err().code, Code::DaemonUnreachable);
    }

    #[test]
    fn a_refused_wish_has_no_rows() {
        let daemon = Daemon::serving(|_| Reply::failure(409, "manager_disabled", "no"));
        let client = Client::new(&DaemonAddress::local(&daemon.socket)).unwrap();
        let refused = client.stream::<Outcome, Wish>(routes::START, &Wish::default()).err().unwrap();
        assert_eq!(refused.code, Code::ManagerDisabled);
    }
}
