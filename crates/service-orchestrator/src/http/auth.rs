//! [`Gate`]: who may ask over TCP. By which name we were called, which page asks, which token it shows, what that allows.
//!
//! A page in a browser can be made to call any name that leads here (DNS rebinding); it cannot choose the `Host` and
//! `Origin` that the browser writes. So both are looked at before anything else, and before the token.

use super::connections::Arrival;
use super::peer::Peer;
use super::reply::Failure;
use super::throttled_log::Complaints;
use super::tokens::{Role, Tokens};
use super::withheld::withheld;
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

/// What a page of an allowed origin may send.
const HEADERS: &str = "authorization, content-type, accept, last-event-id";
/// How long a browser may remember that, in seconds.
const REMEMBER: &str = "600";

/// The rules of one door.
pub(super) struct Gate {
    pub(super) tokens: Tokens,
    pub(super) hosts: Vec<String>,
    pub(super) origins: Vec<String>,
    pub(super) refused: Complaints,
    pub(super) costly: Costly,
}

/// What runs programs or walks through `/proc` because the token for reading asks: so much of it at once, however many ask.
pub(super) struct Costly(Arc<Semaphore>);

/// How many costly requests of the token for reading are worked on at once.
const MAX_COSTLY_COUNT: usize = 8;

impl Default for Costly {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_COSTLY_COUNT)))
    }
}

/// Held for as long as the work goes on, also where nobody waits for the answer any more.
#[derive(Debug, Clone)]
pub(super) struct Permit {
    _held: Arc<OwnedSemaphorePermit>,
}

impl Costly {
    /// A permit, when there is one.
    async fn permit(&self) -> Option<Permit> {
        let held = Arc::clone(&self.0).acquire_owned().await.ok()?; // it is never closed
        Some(Permit { _held: Arc::new(held) })
    }
}

/// Lets a request in, with its [`Role`], or says why not.
pub(super) async fn guard(
    State(gate): State<Arc<Gate>>,
    Extension(arrival): Extension<Arrival>,
    mut request: Request,
    next: Next,
) -> Response {
    let origin = match gate.page(&request, arrival.at) {
        Ok(origin) => origin,
        Err(problem) => return gate.refuse(problem, &arrival),
    };
    if request.method() == Method::OPTIONS && origin.is_some() {
        return allow(StatusCode::NO_CONTENT.into_response(), origin);
    }
    let answer = match gate.role(&request) {
        Ok(role) => {
            request.extensions_mut().insert(role);
            let is_bounded = role == Role::Read && is_costly(&request);
            let permit = if is_bounded { gate.costly.permit().await } else { None };
            if let Some(permit) = permit.clone() {
                request.extensions_mut().insert(permit);
            }
            let answer = next.run(request).await;
            drop(permit);
            // What programs wrote is no more theirs to read in a message than in a log.
            if role == Role::Read { withheld(answer) } else { answer }
        }
        Err(problem) => gate.refuse(problem, &arrival),
    };
    allow(answer, origin)
}

impl Gate {
    /// The page that asks, if one does; an error if it may not, or if we were called by a name that is not ours.
    fn page(&self, request: &Request, at: Option<IpAddr>) -> Result<Option<HeaderValue>, Problem> {
        let called = called(request.headers(), request.uri().host());
        match called {
            Some(name) if self.answers_to(&name, at) => {}
            Some(name) => {
                let message = format!("cannot answer to the name `{}`", brief(&name));
                return Err(Problem::new(Code::Forbidden, message)
                    .help("add it to `hosts` in [orchestrator.api], if it is a name of this machine"));
            }
            None => {
                return Err(Problem::new(Code::BadRequest, "cannot tell by which one name it was called")
                    .help("send one `Host`, the name and the port of the URL"));
            }
        }
        let mut origins = request.headers().get_all(header::ORIGIN).into_iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(None),
            (Some(origin), None) if self.knows(origin) => Ok(Some(origin.clone())),
            (Some(origin), _) => {
                let page = String::from_utf8_lossy(origin.as_bytes());
                let message = format!("cannot answer to the web page `{}`", brief(&page));
                Err(Problem::new(Code::Forbidden, message)
                    .help("add it to `origins` in [orchestrator.api], if it may see and do everything"))
            }
        }
    }

    fn answers_to(&self, name: &str, at: Option<IpAddr>) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().ok();
        name.eq_ignore_ascii_case("localhost")
            || address.is_some_and(|address| address.is_loopback() || Some(address) == at)
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    fn knows(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
    }

    fn role(&self, request: &Request) -> Result<Role, Problem> {
        let mut shown = request.headers().get_all(header::AUTHORIZATION).into_iter();
        let (shown, another) = (shown.next(), shown.next());
        if another.is_some() {
            let message = "cannot tell which of two tokens is meant";
            return Err(Problem::new(Code::BadRequest, message).help("send one `Authorization`"));
        }
        let Some(shown) = shown else {
            return Err(Problem::new(Code::Unauthorized, "a token is needed")
                .help("send one as a bearer token; they lie beside the daemon's state, in `tokens/`"));
        };
        let role = bearer(shown.as_bytes()).and_then(|token| self.tokens.role(token)).ok_or_else(|| {
            Problem::new(Code::Unauthorized, "this token is none of ours")
                .help("use what is in `tokens/read` or `tokens/admin` beside the daemon's state")
        })?;
        if role == Role::Read && !may_read(request) {
            let (method, path) = (brief(request.method().as_str()), brief(request.uri().path()));
            let message = format!("the token for reading does not allow {method} {path}");
            return Err(Problem::new(Code::Forbidden, message)
                .help("what changes something, and what services write to their logs, needs the token in `tokens/admin`"));
        }
        Ok(role)
    }

    fn refuse(&self, problem: Problem, arrival: &Arrival) -> Response {
        let Peer::Remote(from) = arrival.peer else { return Failure(problem).into_response() };
        self.refused.say(from.ip(), |times, others| {
            tracing::warn!(%from, times, others, why = problem.message, "refused a request over TCP");
        });
        let asks = problem.code == Code::Unauthorized;
        let mut answer = Failure(problem).into_response();
        if asks {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// What only looks is GET; what services write to their logs is theirs, and may be anything.
fn may_read(request: &Request) -> bool {
    let path = request.uri().path().trim_end_matches('/');
    matches!(*request.method(), Method::GET | Method::HEAD) && !path.ends_with("/logs")
}

/// Whether it runs a program, or looks through all processes.
fn is_costly(request: &Request) -> bool {
    let path = request.uri().path().trim_end_matches('/');
    ["/health", "/why", "/managers"].iter().any(|end| path.ends_with(end))
}

/// The token after `Bearer`, whose case does not matter.
fn bearer(shown: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = shown.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The one name by which we were called, without its port. None where a port follows that cannot be.
fn called(headers: &HeaderMap, in_target: Option<&str>) -> Option<String> {
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
    // A target may name a host too, and then it is that one.
    in_target.is_none_or(|target| target.eq_ignore_ascii_case(&name)).then_some(name)
}

/// Lets a page of this origin see the answer.
fn allow(mut answer: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBER));
    }
    answer
}
