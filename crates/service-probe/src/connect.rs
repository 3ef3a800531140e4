//! [`Reach`]: connects a check to a port. Each check uses a new connection, like any client: a persistent connection
//! would prove nothing about the listener, and would block a single-threaded server.
//!
//! All addresses of a name are tried. If the port must belong to the service, the kernel is queried first for the
//! listener of each address, and other listeners are not connected to.

use super::error::{ForeignListener, ProbeError};
use super::listener_table::Age;
use super::names::Names;
use super::port_owner::{self, Accepts, PortOwners};
use service_host::local_address::strip_brackets;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// The target of one check.
pub(super) struct Reach<'c> {
    pub(super) names: &'c Names,
    pub(super) owners: &'c Arc<PortOwners>,
    /// The text of the endpoint in messages.
    pub(super) shown: &'c str,
    pub(super) host: &'c str,
    pub(super) port: u16,
    /// The root of the process tree that must own the listener; `None` for any process.
    pub(super) shim: Option<u32>,
    /// The time limit of the whole check.
    pub(super) limit: Duration,
}

/// Why the check of one address failed.
enum Trouble {
    /// The connection failed.
    Unreached(io::Error),
    /// The request failed, or the listener is foreign.
    Failed(ProbeError),
}

/// The request that a check sends over its connection.
pub(super) trait ProbeRequest: Sync {
    type Output: Send;

    fn send_request(
        &self,
        stream: TcpStream,
    ) -> impl Future<Output = Result<Self::Output, ProbeError>> + Send;
}

impl Reach<'_> {
    /// Sends a request over a new connection. With several addresses, the first success is the result.
    pub(super) async fn probe<Q: ProbeRequest>(&self, question: Q) -> Result<Q::Output, ProbeError> {
        let addresses = self.names.addresses(self.host).await?;
        let all: Vec<SocketAddr> = addresses.into_iter().map(|address| (address, self.port).into()).collect();
        let trouble = match self.shim {
            Some(shim) => match self.probe_own(shim, &all, &question).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            },
            None => match self.probe_any(&all, &question).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            },
        };
        match trouble {
            Trouble::Failed(error) => Err(error),
            Trouble::Unreached(error) => Err(self.explain(&all, error).await),
        }
    }

    /// Checks the addresses where the service listens; if there are none, the addresses where no other process listens.
    async fn probe_own<Q: ProbeRequest>(
        &self,
        shim: u32,
        all: &[SocketAddr],
        question: &Q,
    ) -> Result<Q::Output, Trouble> {
        let (mut own, mut unknown, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for at in all {
            match port_owner::accepts(self.owners, shim, *at, Age::Shared) {
                Accepts::Own => own.push(*at),
                Accepts::Nobody => unknown.push(*at),
                Accepts::Others { .. } => others.push(*at),
            }
        }
        let mut last = None;
        for at in &own {
            match send_request(*at, question).await {
                Err(Trouble::Unreached(error)) => last = Some(Trouble::Unreached(error)),
                answer => return answer,
            }
        }
        for at in others.iter().filter(|_| own.is_empty()) {
            match find_foreign_listener(self.owners, shim, *at).await {
                Some(foreign) => last = Some(Trouble::Failed(foreign.into())),
                None => unknown.push(*at),
            }
        }
        for at in unknown.iter().filter(|_| own.is_empty()) {
            let connected = TcpStream::connect(at).await;
            let answer = match connected {
                Err(error) => Err(Trouble::Unreached(error)),
                // The service or another process may have begun to listen after the query.
                Ok(stream) => match find_foreign_listener(self.owners, shim, *at).await {
                    None => question.send_request(stream).await.map_err(Trouble::Failed),
                    Some(foreign) => Err(Trouble::Failed(foreign.into())),
                },
            };
            match (answer, &last) {
                (Ok(answer), _) => return Ok(answer),
                // The error of a foreign listener is more informative than the error of a closed address.
                (Err(Trouble::Unreached(_)), Some(Trouble::Failed(_))) => {}
                (Err(trouble), _) => last = Some(trouble),
            }
        }
        Err(last.unwrap_or_else(|| Trouble::Unreached(ErrorKind::ConnectionRefused.into())))
    }

    /// Tries the addresses one after the other. The first attempt continues while the others are tried.
    async fn probe_any<Q: ProbeRequest>(
        &self,
        all: &[SocketAddr],
        question: &Q,
    ) -> Result<Q::Output, Trouble> {
        let Some((first, rest)) = all.split_first() else {
            return Err(Trouble::Unreached(ErrorKind::AddrNotAvailable.into()));
        };
        let share = self.limit / 3;
        let rest = async {
            let mut last = None;
            for at in rest {
                match tokio::time::timeout(share, send_request(*at, question)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(trouble)) => last = Some(more_informative(last, trouble)),
                    Err(_) => {
                        last = Some(more_informative(last, Trouble::Unreached(ErrorKind::TimedOut.into())));
                    }
                }
            }
            Err(last)
        };
        let (mut one, mut rest) = (pin!(send_request(*first, question)), pin!(rest));
        match tokio::time::timeout(share, &mut one).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(trouble)) => return rest.await.map_err(|last| more_informative(last, trouble)),
            Err(_) => {}
        }
        tokio::select! {
            answer = &mut one => match answer {
                Ok(answer) => Ok(answer),
                Err(trouble) => rest.await.map_err(|last| more_informative(last, trouble)),
            },
            answer = &mut rest => match answer {
                Ok(answer) => Ok(answer),
                Err(last) => one.await.map_err(|trouble| more_informative(last, trouble)),
            },
        }
    }

    /// The error of an endpoint to which no connection succeeded, with the places where the service listens instead.
    async fn explain(&self, all: &[SocketAddr], error: io::Error) -> ProbeError {
        let is_name = strip_brackets(self.host).parse::<IpAddr>().is_err();
        let addresses = all.iter().map(SocketAddr::ip).filter(|_| is_name).collect();
        let listens_on = match self.shim {
            Some(shim) => {
                let found =
                    tokio::task::spawn_blocking(move || port_owner::listens(shim)).await.ok().flatten();
                found.map(|found| other_places(&found, self.port))
            }
            None => None,
        };
        ProbeError::Connect { endpoint: self.shown.to_owned(), error, addresses, listens_on }
    }
}

async fn send_request<Q: ProbeRequest>(at: SocketAddr, question: &Q) -> Result<Q::Output, Trouble> {
    let stream = TcpStream::connect(at).await.map_err(Trouble::Unreached)?;
    question.send_request(stream).await.map_err(Trouble::Failed)
}

async fn find_foreign_listener(
    owners: &Arc<PortOwners>,
    shim: u32,
    at: SocketAddr,
) -> Option<ForeignListener> {
    let owners = Arc::clone(owners);
    tokio::task::spawn_blocking(move || port_owner::find_foreign_listener(&owners, shim, at))
        .await
        .ok()
        .flatten()
}

/// Selects the more informative error: a failed request instead of a failed connection.
fn more_informative(one: Option<Trouble>, other: Trouble) -> Trouble {
    match (one, other) {
        (Some(Trouble::Unreached(_)), said @ Trouble::Failed(_)) | (None, said) => said,
        (Some(one), _) => one,
    }
}

/// The places where a service listens that does not listen on this port.
fn other_places(found: &[SocketAddr], port: u16) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for at in found {
        let everywhere = at.ip().is_unspecified() || at.ip().is_loopback();
        let place = if at.port() != port && everywhere { at.port().to_string() } else { at.to_string() };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    fn shim() -> u32 {
        nix::unistd::getppid().as_raw().unsigned_abs()
    }

    /// Reads the greeting of a server.
    struct ReadGreeting;

    impl ProbeRequest for ReadGreeting {
        type Output = String;

        async fn send_request(&self, mut stream: TcpStream) -> Result<String, ProbeError> {
            let read = stream.read(&mut [0]).await.unwrap();
            Ok(format!("{read} from {}", stream.peer_addr().unwrap().ip()))
        }
    }

    async fn probe(host: &str, port: u16, shim: Option<u32>) -> Result<String, String> {
        let (names, owners, shown) = (Names::default(), Arc::default(), format!("tcp://{host}:{port}"));
        let limit = Duration::from_millis(300);
        let reach = Reach { names: &names, owners: &owners, shown: &shown, host, port, shim, limit };
        let answer = tokio::time::timeout(Duration::from_secs(20), reach.probe(ReadGreeting));
        answer.await.expect("the answer arrives within the limit").map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn an_address_that_accepts_and_is_silent_keeps_no_other_from_being_asked() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let Ok(other) = TcpListener::bind(("::1", port)).await else { return };
        tokio::spawn(async move {
            loop {
                drop(other.accept().await);
            }
        });
        assert_eq!(probe("localhost", port, None).await.unwrap(), "0 from ::1");
    }

    #[tokio::test]
    async fn a_refusal_names_the_address_and_where_the_service_listens_instead() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let refused = probe("127.0.0.1", port, None).await.unwrap_err();
        assert_eq!(refused, format!("connection refused at tcp://127.0.0.1:{port}"));
        let refused = probe("localhost", port, None).await.unwrap_err();
        assert_eq!(refused, format!("connection refused at tcp://localhost:{port} (127.0.0.1, ::1)"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = probe("127.0.0.1", port, Some(shim())).await.unwrap_err();
        if port_owner::listens(shim()).is_some() {
            assert!(refused.contains("; it listens on "), "{refused}");
        }
        drop(listener);
    }

    #[test]
    fn places_are_as_short_as_they_can_be() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(other_places(&[], 80).is_empty());
        assert_eq!(other_places(&[at("0.0.0.0:81"), at("[::]:81"), at("[::1]:80")], 80), ["81", "[::1]:80"]);
    }
}
