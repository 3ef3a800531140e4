//! [`Names`]: looks up the addresses of a host. A name of this machine is resolved without a query.

use super::error::LookupError;
use service_host::local_address::{local_addresses, strip_brackets, to_reachable};
use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Running lookups. Callers with the same name share one lookup, each within its own time limit. Each lookup has its
/// own thread, so that a hanging one delays no other name.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<Mutex<HashMap<String, PendingLookup>>>);

type LookupResult = Result<Vec<IpAddr>, Arc<LookupError>>;
type PendingLookup = watch::Receiver<Option<LookupResult>>;

impl Names {
    /// All addresses of a host, at least one.
    pub(super) async fn addresses(&self, host: &str) -> LookupResult {
        let host = strip_brackets(host);
        if let Ok(address) = host.parse() {
            return Ok(vec![to_reachable(address)]);
        }
        let local = local_addresses(host);
        if !local.is_empty() {
            return Ok(local);
        }
        let mut lookup = self.lookup(host)?;
        let found = lookup.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        found.unwrap_or_else(|| Err(LookupError::Aborted { host: host.to_owned() }.into()))
    }

    fn lookup(&self, host: &str) -> Result<PendingLookup, Arc<LookupError>> {
        let mut lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = lookups.get(host) {
            return Ok(lookup.clone());
        }
        let (tell, lookup) = watch::channel(None);
        let (names, name) = (self.clone(), host.to_owned());
        let look = move || {
            let found = resolve(&name);
            names.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            let _ = tell.send(Some(found)); // fails if no caller waits any more
        };
        let thread = std::thread::Builder::new().name("lookup".to_owned()).spawn(look);
        thread.map_err(|error| LookupError::Thread { host: host.to_owned(), error })?;
        lookups.insert(host.to_owned(), lookup.clone());
        Ok(lookup)
    }
}

fn resolve(host: &str) -> LookupResult {
    // The port does not matter for the lookup.
    let host = host.to_owned();
    let found = match (&*host, 0).to_socket_addrs() {
        Ok(found) => found,
        Err(error) => return Err(LookupError::Resolver { host, error }.into()),
    };
    let mut addresses = Vec::new();
    for address in found.map(|found| found.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(LookupError::NoAddress { host }.into()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_under_localhost_are_this_machine_and_nobody_is_asked_for_them() {
        let (names, both) =
            (Names::default(), ["127.0.0.1", "::1"].map(|text| text.parse::<IpAddr>().unwrap()));
        for name in ["localhost", "LOCALHOST", "app.localhost", "a.b.LocalHost", "localhost."] {
            assert_eq!(names.addresses(name).await.unwrap(), both, "{name}");
        }
        for (host, address) in
            [("0.0.0.0", "127.0.0.1"), ("[::]", "::1"), ("[::1]", "::1"), ("192.0.2.1", "192.0.2.1")]
        {
            assert_eq!(names.addresses(host).await.unwrap(), [address.parse::<IpAddr>().unwrap()], "{host}");
        }
    }

    #[tokio::test]
    async fn who_asks_for_a_name_that_is_being_looked_up_waits_for_the_same_answer() {
        let names = Names::default();
        let (tell, lookup) = watch::channel(None);
        names.0.lock().unwrap().insert("slow.test".to_owned(), lookup);
        let ask = |names: Names| tokio::spawn(async move { names.addresses("slow.test").await });
        let asked = [ask(names.clone()), ask(names.clone())];
        tokio::task::yield_now().await;
        let found: IpAddr = "192.0.2.7".parse().unwrap();
        tell.send(Some(Ok(vec![found]))).unwrap();
        for answer in asked {
            assert_eq!(answer.await.unwrap().unwrap(), [found]);
        }
    }
}
