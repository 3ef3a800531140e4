//! [`ListenerTable`]: the TCP listeners of this machine, shared by the checks that begin at about the same time. Checks
//! of many services with the same interval tend to fall into one moment.

use super::sock_diag::{AddressFamily, Listeners, ListeningSocket};
use service_core::Moment;
use service_host::clock;
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a reply of the kernel is shared. A check that passes on it has proven separately that the service still
/// holds the socket, and a check that fails queries the kernel again.
const MOMENT: Duration = Duration::from_millis(10);
/// The number of ports of a moment that are queried one by one. The next query is for all listeners. The kernel finds
/// one port faster than it lists all, so checks that come alone do not pay for the others.
const MAX_SINGLE_QUERIES: u32 = 3;

/// Age of the data that a check accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// At most [`MOMENT`].
    Shared,
    /// None: the kernel is queried now.
    New,
}

#[derive(Debug, Default)]
pub(super) struct ListenerTable(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    socket: Option<Listeners>,
    began: Option<Moment>,
    single_queries: u32,
    /// All listeners by port, once this moment has had too many single queries.
    all: Option<HashMap<u16, Vec<ListeningSocket>>>,
}

impl ListenerTable {
    /// The listeners of one family on a port, and perhaps those of the other family.
    pub(super) fn on_port(&self, family: AddressFamily, port: u16, age: Age) -> Vec<ListeningSocket> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.on_port(family, port, age).unwrap_or_else(|_| {
            // A reply may be left over on the socket.
            *table = Table::default();
            Vec::new()
        })
    }
}

impl Table {
    fn on_port(&mut self, family: AddressFamily, port: u16, age: Age) -> io::Result<Vec<ListeningSocket>> {
        if age == Age::New {
            return self.query_port(family, port);
        }
        let now = clock::now();
        if self.began.is_none_or(|began| now.since(began) > MOMENT) {
            (self.began, self.single_queries, self.all) = (Some(now), 0, None);
        }
        if self.all.is_none() && self.single_queries < MAX_SINGLE_QUERIES {
            self.single_queries += 1;
            return self.query_port(family, port);
        }
        if self.all.is_none() {
            self.all = Some(self.query_all()?);
        }
        Ok(self.all.as_ref().and_then(|all| all.get(&port)).cloned().unwrap_or_default())
    }

    fn query_port(&mut self, family: AddressFamily, port: u16) -> io::Result<Vec<ListeningSocket>> {
        self.socket()?.on_port(family, port)
    }

    fn query_all(&mut self) -> io::Result<HashMap<u16, Vec<ListeningSocket>>> {
        let mut all: HashMap<u16, Vec<ListeningSocket>> = HashMap::new();
        self.socket()?.each(|port, listener| all.entry(port).or_default().push(listener))?;
        Ok(all)
    }

    fn socket(&mut self) -> io::Result<&mut Listeners> {
        if self.socket.is_none() {
            self.socket = Some(Listeners::new()?);
        }
        self.socket.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn checks_of_one_moment_share_one_query() {
        let table = ListenerTable::default();
        let listeners: Vec<TcpListener> =
            (0..20).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = || listeners.iter().map(|listener| listener.local_addr().unwrap().port());
        for port in ports() {
            assert_eq!(table.on_port(AddressFamily::Four, port, Age::Shared).len(), 1);
        }
        let shared = table.0.lock().unwrap().all.clone();
        // A slow machine needs more than a moment for all of them.
        assert!(shared.is_none_or(|all| ports().all(|port| all.contains_key(&port))));
    }

    #[test]
    fn a_new_query_does_not_trust_what_was_shared() {
        let table = ListenerTable::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for _ in 0..=MAX_SINGLE_QUERIES {
            table.on_port(AddressFamily::Four, port, Age::Shared);
        }
        drop(listener);
        assert_eq!(table.on_port(AddressFamily::Four, port, Age::New), []);
        let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(table.on_port(AddressFamily::Four, other, Age::New), [], "it is closed already");
    }

    #[test]
    fn a_listener_is_seen_after_a_moment_at_the_latest() {
        let table = ListenerTable::default();
        for _ in 0..=MAX_SINGLE_QUERIES {
            table.on_port(AddressFamily::Four, 1, Age::Shared);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::sleep(2 * MOMENT);
        assert_eq!(table.on_port(AddressFamily::Four, port, Age::Shared).len(), 1);
    }
}
