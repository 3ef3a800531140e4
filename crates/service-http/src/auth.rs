//! [`AuthPolicy`]: decides which requests over TCP are allowed, by their `Host`, `Origin` and token.
//!
//! A web page can send requests to any name that resolves to this address (DNS rebinding), but it cannot choose the
//! `Host` and `Origin` that the browser sends. These two are therefore checked before the token.

use super::connections::AcceptedConnection;
use super::peer::Peer;
use super::read_role_filter::strip_quotations;
use super::reply::ErrorResponse;
use super::throttled_log::ThrottledLogs;
use super::tokens::{Role, Tokens};
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service_api::redact::brief;
use service_api::{Code, Problem};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The headers that a page of an allowed origin may send.
const ALLOWED_HEADERS: &str = "authorization, content-type, accept, last-event-id";
/// The time for which a browser may cache the allowed headers.
const PREFLIGHT_MAX_AGE_SECONDS: &str = "600";

/// The rules of one listener.
pub(super) struct AuthPolicy {
    pub(super) tokens: Tokens,
    pub(super) hosts: Vec<String>,
    pub(super) origins: Vec<String>,
    pub(super) refused: ThrottledLogs,
    pub(super) expensive: ExpensiveRequests,
}

/// The permits for requests with the token `read` that run programs or scan `/proc`.
pub(super) struct ExpensiveRequests(Arc<Semaphore>);

/// The maximum number of such requests at the same time.
const MAX_EXPENSIVE_COUNT: usize = 8;

impl Default for ExpensiveRequests {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_EXPENSIVE_COUNT)))
    }
}

/// A permit of an expensive request, which is held until the work is done, even if the client disconnects.
#[derive(Debug, Clone)]
pub(super) struct ExpensivePermit {
    _held: Arc<OwnedSemaphorePermit>,
}

impl ExpensiveRequests {
    /// Waits for a permit.
    async fn acquire(&self) -> Option<ExpensivePermit> {
        let held = Arc::clone(&self.0).acquire_owned().await.ok()?; // the semaphore is never closed
        Some(ExpensivePermit { _held: Arc::new(held) })
    }
}

/// Passes a request on with its [`Role`], or refuses it.
pub(super) async fn authorize(
    State(policy): State<Arc<AuthPolicy>>,
    Extension(accepted): Extension<AcceptedConnection>,
    mut request: Request,
    next: Next,
) -> Response {
    let origin = match policy.check_origin(&request, accepted.at) {
        Ok(origin) => origin,
        Err(problem) => return policy.refuse(problem, &accepted),
    };
    if request.method() == Method::OPTIONS && origin.is_some() {
        return add_cors_headers(StatusCode::NO_CONTENT.into_response(), origin);
    }
    let answer = match policy.role(&request) {
        Ok(role) => {
            request.extensions_mut().insert(role);
            let is_bounded = role == Role::Read && is_expensive(&request);
            let permit = if is_bounded { policy.expensive.acquire().await } else { None };
            if let Some(permit) = permit.clone() {
                request.extensions_mut().insert(permit);
            }
            let answer = next.run(request).await;
            drop(permit);
            // The token `read` gives no access to the output of programs, which messages may quote.
            if role == Role::Read { strip_quotations(answer) } else { answer }
        }
        Err(problem) => policy.refuse(problem, &accepted),
    };
    add_cors_headers(answer, origin)
}

impl AuthPolicy {
    /// Returns the `Origin` of the request, if a web page sends the request.
    ///
    /// # Errors
    /// The origin or the requested host is not allowed.
    fn check_origin(&self, request: &Request, at: Option<IpAddr>) -> Result<Option<HeaderValue>, Problem> {
        let host = requested_host(request.headers(), request.uri().host());
        match host {
            Some(name) if self.has_host(&name, at) => {}
            Some(name) => {
                let message = format!("cannot accept the host `{}`", brief(&name));
                return Err(Problem::new(Code::Forbidden, message)
                    .help("add it to `hosts` in [orchestrator.api], if it is a name of this machine"));
            }
            None => {
                return Err(Problem::new(
                    Code::BadRequest,
                    "cannot accept the request: it needs exactly one \
                                                           valid `Host`",
                )
                .help("send one `Host`, the name and the port of the URL"));
            }
        }
        let mut origins = request.headers().get_all(header::ORIGIN).into_iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(None),
            (Some(origin), None) if self.allows_origin(origin) => Ok(Some(origin.clone())),
            (Some(origin), _) => {
                let page = String::from_utf8_lossy(origin.as_bytes());
                let message = format!("cannot accept the origin `{}`", brief(&page));
                Err(Problem::new(Code::Forbidden, message)
                    .help("add it to `origins` in [orchestrator.api], if that page may use the whole API"))
            }
        }
    }

    fn has_host(&self, name: &str, at: Option<IpAddr>) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().ok();
        name.eq_ignore_ascii_case("localhost")
            || address.is_some_and(|address| address.is_loopback() || Some(address) == at)
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    fn allows_origin(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
    }

    fn role(&self, request: &Request) -> Result<Role, Problem> {
        let mut given = request.headers().get_all(header::AUTHORIZATION).into_iter();
        let (given, another) = (given.next(), given.next());
        if another.is_some() {
            let message = "cannot accept two tokens";
            return Err(Problem::new(Code::BadRequest, message).help("send one `Authorization`"));
        }
        let Some(given) = given else {
            return Err(Problem::new(Code::Unauthorized, "the request needs a token")
                .help("send a bearer token from `tokens/` of the state directory"));
        };
        let role = bearer(given.as_bytes()).and_then(|token| self.tokens.role(token)).ok_or_else(|| {
            Problem::new(Code::Unauthorized, "invalid token")
                .help("use the content of `tokens/read` or `tokens/admin` of the state directory")
        })?;
        if role == Role::Read && !is_allowed_to_readers(request) {
            let (method, path) = (brief(request.method().as_str()), brief(request.uri().path()));
            let message = format!("the token `read` does not allow {method} {path}");
            return Err(Problem::new(Code::Forbidden, message)
                .help("changes and the logs of services need the token in `tokens/admin`"));
        }
        Ok(role)
    }

    fn refuse(&self, problem: Problem, accepted: &AcceptedConnection) -> Response {
        let Peer::Remote(from) = accepted.peer else { return ErrorResponse(problem).into_response() };
        self.refused.log(from.ip(), |times, others| {
            tracing::warn!(%from, times, others, why = problem.message, "refused a request over TCP");
        });
        let needs_token = problem.code == Code::Unauthorized;
        let mut answer = ErrorResponse(problem).into_response();
        if needs_token {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// Whether the token `read` allows a request: every GET except for logs, which may contain private data.
fn is_allowed_to_readers(request: &Request) -> bool {
    let path = request.uri().path().trim_end_matches('/');
    matches!(*request.method(), Method::GET | Method::HEAD) && !path.ends_with("/logs")
}

/// Whether a request runs a program or scans all processes.
fn is_expensive(request: &Request) -> bool {
    let path = request.uri().path().trim_end_matches('/');
    ["/health", "/why", "/managers"].iter().any(|end| path.ends_with(end))
}

/// The token after `Bearer`, in upper or lower case.
fn bearer(given: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = given.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The requested host without its port; `None` if there are several hosts, or if the port is invalid.
fn requested_host(headers: &HeaderMap, in_target: Option<&str>) -> Option<String> {
    let mut hosts = headers.get_all(header::HOST).into_iter();
    let (host, None) = (hosts.next()?.to_str().ok()?, hosts.next()) else { return None };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(name, port)| (format!("[{name}]"), port))?,
        None => host
            .split_at_checked(host.find(':').unwrap_or(host.len()))
            .map(|(name, port)| (name.to_owned(), port))?,
    };
    let number = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
    };
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(number) {
        return None;
    }
    // A request target with a host must name the same host.
    in_target.is_none_or(|target| target.eq_ignore_ascii_case(&name)).then_some(name)
}

/// Adds the headers with which pages of this origin may read the response.
fn add_cors_headers(mut answer: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE_SECONDS));
    }
    answer
}
