//! `http://` and `https://`: the check passes if a GET request has an accepted status. Redirects are followed only on
//! the same host, each over a new connection. Proxies in the environment are ignored.

use super::connect::{ProbeRequest, Reach};
use super::endpoint_url::without_user;
use super::error::ProbeError;
use super::http_error::{HttpError, describe_status};
use super::names::Names;
use super::port_owner::PortOwners;
use super::tls::{self, Trust};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use service_core::config::Health;
use service_host::local_address::strip_brackets;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;
use url::{Position, Url};

/// The maximum number of redirects.
const MAX_REDIRECTS: usize = 5;
/// The maximum number of bytes that are read of a body, and the time limit for it. If the body were not read, the
/// server might log an error.
const MAX_BODY_BYTES: u64 = 16 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_millis(100);

const AGENT: &str = concat!("service-orchestrator/", env!("CARGO_PKG_VERSION"));

/// A check over HTTP.
pub(super) struct Asks<'c> {
    pub(super) names: &'c Names,
    pub(super) owners: &'c Arc<PortOwners>,
    pub(super) trust: &'c Trust,
    pub(super) health: &'c Health,
    /// The base directory of the certificate file.
    pub(super) base: &'c Path,
    /// The root of the process tree that must own the listener; `None` for any process.
    pub(super) shim: Option<u32>,
}

impl Asks<'_> {
    /// Requests a URL and follows redirects.
    pub(super) async fn get(&self, url: &str) -> Result<String, ProbeError> {
        let mut url = Url::parse(url).map_err(|error| HttpError::Url { url: url.to_owned(), error })?;
        let mut followed = 0;
        loop {
            let shown = without_user(&url);
            let head = self.read_head(&url, &shown).await?;
            let accepted = &self.health.status;
            let is_good = match accepted.as_slice() {
                [] => head.status.is_success(),
                accepted => accepted.contains(&head.status.as_u16()),
            };
            let status = head.status;
            if is_good {
                return Ok(describe_status(status));
            }
            match head.location.filter(|_| status.is_redirection()).map(|to| (url.join(&to), to)) {
                Some((Ok(target), _)) if host_of(&target) == host_of(&url) && followed < MAX_REDIRECTS => {
                    (url, followed) = (target, followed + 1);
                }
                Some((Ok(other), target)) if host_of(&other) == host_of(&url) => {
                    return Err(HttpError::TooManyRedirects { status, endpoint: shown, target }.into());
                }
                Some((_, target)) => {
                    return Err(HttpError::ForeignRedirect { status, endpoint: shown, target }.into());
                }
                None => {
                    let accepted = accepted.clone();
                    return Err(HttpError::Status { status, accepted, endpoint: shown }.into());
                }
            }
        }
    }

    /// Requests one URL over one connection.
    async fn read_head(&self, url: &Url, shown: &str) -> Result<ResponseHead, ProbeError> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let tls = match url.scheme() {
            "https" => Some(self.trust.rules(self.health, self.base).await?),
            _ => None,
        };
        let reach = Reach {
            names: self.names,
            owners: self.owners,
            shown,
            host,
            port,
            shim: self.shim,
            limit: self.health.timeout,
        };
        reach.probe(Get { url, host: strip_brackets(host), shown, tls }).await
    }
}

/// A GET request.
struct Get<'c> {
    url: &'c Url,
    host: &'c str,
    shown: &'c str,
    tls: Option<Arc<ClientConfig>>,
}

impl ProbeRequest for Get<'_> {
    type Output = ResponseHead;

    async fn send_request(&self, stream: TcpStream) -> Result<ResponseHead, ProbeError> {
        match &self.tls {
            Some(rules) => {
                let stream = tls::connect(Arc::clone(rules), self.host, stream, self.shown).await?;
                Ok(exchange(stream, self.url, self.shown).await?)
            }
            None => Ok(exchange(stream, self.url, self.shown).await?),
        }
    }
}

/// The examined parts of a response.
#[derive(Debug)]
struct ResponseHead {
    status: StatusCode,
    location: Option<String>,
}

/// Sends the request over this connection, which is closed after the status.
async fn exchange<S>(stream: S, url: &Url, shown: &str) -> Result<ResponseHead, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let endpoint = || shown.to_owned();
    let request = request(url).map_err(|error| HttpError::Request { endpoint: endpoint(), error })?;
    let broken = |error: hyper::Error| HttpError::NoResponse { endpoint: endpoint(), error };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut connection = Box::pin(connection);
    let answer = {
        let mut answer = std::pin::pin!(sender.send_request(request));
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = &mut connection => match answer.await {
                Err(error) if error.is_canceled() => Err(ended.err().unwrap_or(error)),
                answer => answer,
            }
        }
    };
    let answer = answer.map_err(broken)?;
    let location = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
    let head = ResponseHead { status: answer.status(), location };
    // The task ends within its own time limit.
    tokio::spawn(drain_briefly(connection, answer));
    Ok(head)
}

fn request(url: &Url) -> Result<Request<String>, hyper::http::Error> {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let mut request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close");
    if !url.username().is_empty() || url.password().is_some() {
        let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
        pair.push(b':');
        pair.extend(percent_decode_str(url.password().unwrap_or_default()));
        request = request.header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(pair)));
    }
    request.body(String::new())
}

/// Reads the part of the body that arrives within the time limit, and closes the connection.
async fn drain_briefly(
    mut connection: Pin<Box<impl Future<Output = hyper::Result<()>> + Send>>,
    mut answer: Response<Incoming>,
) {
    let rest = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = poll_fn(|context| Pin::new(answer.body_mut()).poll_frame(context)).await {
            taken += frame.data_ref().map_or(0, |data| data.len() as u64);
            if taken > MAX_BODY_BYTES {
                return;
            }
        }
    };
    let leave = async {
        tokio::select! {
            _ = &mut connection => {}
            () = rest => {}
        }
    };
    let _ = tokio::time::timeout(BODY_TIMEOUT, leave).await;
}

fn host_of(url: &Url) -> (Option<&str>, Option<u16>) {
    (url.host_str(), url.port_or_known_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// One whole request, or the received part of it.
    fn read_request(stream: &mut std::net::TcpStream) -> String {
        let (mut heard, mut byte) = (Vec::new(), [0]);
        while !heard.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
            heard.push(byte[0]);
        }
        String::from_utf8(heard).unwrap()
    }

    /// Starts a single-threaded server that sends these responses, each over a connection that the client closes. The
    /// thread returns each request with the number of bytes after it.
    fn server(answers: &'static [&'static str]) -> (u16, JoinHandle<Vec<(String, usize)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move || {
            let heard = answers.iter().map(|answer| {
                let mut stream = listener.accept().unwrap().0;
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let heard = read_request(&mut stream);
                for part in answer.split('|') {
                    stream.write_all(part.as_bytes()).unwrap();
                }
                (heard, stream.read(&mut [0; 64]).expect("the client closes the connection cleanly"))
            });
            heard.collect()
        };
        (port, std::thread::spawn(serve))
    }

    async fn get(url: &str, status: &[u16]) -> Result<String, String> {
        let health = Health { status: status.to_vec(), ..Health::default() };
        let (names, trust, base) = (&Names::default(), &Trust::default(), Path::new("/"));
        let owners = &Arc::default();
        let asks = Asks { names, owners, trust, health: &health, base, shim: None };
        tokio::time::timeout(Duration::from_secs(20), asks.get(url))
            .await
            .unwrap()
            .map_err(|error| error.to_string())
    }

    async fn ended<T: Send + 'static>(server: JoinHandle<T>) -> T {
        tokio::task::spawn_blocking(|| server.join().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn each_check_comes_by_a_connection_of_its_own_and_ends_it() {
        let (port, server) = server(&[
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n|body",
            "HTTP/1.1 200 OK\r\n\r\n|without an end",
        ]);
        let url = format!("http://127.0.0.1:{port}/health?deep=1");
        assert_eq!(get(&url, &[]).await.unwrap(), "HTTP 204 No Content");
        assert_eq!(get(&url, &[]).await.unwrap(), "HTTP 200 OK");
        assert_eq!(get(&url, &[]).await.unwrap(), "HTTP 200 OK");
        for (asked, after) in ended(server).await {
            assert!(asked.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{asked}");
            assert!(asked.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{asked}");
            assert!(asked.contains("connection: close\r\n"), "{asked}");
            assert_eq!(after, 0);
        }
    }

    #[tokio::test]
    async fn a_redirect_is_followed_on_the_same_host_by_another_connection() {
        let (port, server) = server(&[
            "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\nContent-Length: 0\r\n\r\n",
        ]);
        let url = format!("http://a%20b:p%40ss@127.0.0.1:{port}/");
        assert_eq!(get(&url, &[]).await.unwrap(), "HTTP 200 OK");
        let refused = get(&url, &[]).await.unwrap_err();
        assert!(
            refused.ends_with("to http://127.0.0.2/: a redirect to another host is not followed"),
            "{refused}"
        );
        assert!(!refused.contains("p%40ss"), "{refused}");
        let asked = ended(server).await;
        assert!(asked[1].0.starts_with("GET /there HTTP/1.1\r\n"), "{}", asked[1].0);
        let basic = format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode("a b:p@ss"));
        assert!(asked.iter().all(|(asked, _)| asked.contains(&basic)), "{}", asked[0].0);
    }

    #[tokio::test]
    async fn a_failure_says_what_was_wanted_and_where() {
        let (port, server) = server(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n",
            "",
        ]);
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(get(&url, &[204]).await.unwrap_err(), format!("HTTP 200 OK, wanted 204, at {url}"));
        let wrong = get(&url, &[]).await.unwrap_err();
        assert_eq!(wrong, format!("HTTP 500 Internal Server Error, wanted 200 to 299, at {url}"));
        let wrong = get(&url, &[]).await.unwrap_err();
        assert!(wrong.starts_with(&format!("the server at {url} does not use HTTP/1.1")), "{wrong}");
        let ends = get(&url, &[]);
        let ends = tokio::time::timeout(Duration::from_millis(50), ends).await;
        assert!(ends.is_err(), "the check waits up to its time limit");
        drop(ended(server).await);
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let server = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let closed = get(&url, &[]).await.unwrap_err();
        assert!(closed.ends_with("; if it uses TLS, write `https://`"), "{closed}");
        ended(server).await;
        let refused = get(&url, &[]).await.unwrap_err();
        assert_eq!(refused, format!("connection refused at {url}"));
    }
}
