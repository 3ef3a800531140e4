//! Finds the owner of a port. A check of a local port is valid only if the service's own process tree listens on it.

use super::error::ForeignListener;
use super::holder::Holder;
use super::listener_table::{Age, ListenerTable};
use super::sock_diag::{AddressFamily, Listeners, ListeningSocket};
use service_host::local_address::local_addresses;
use service_host::procfs::{descendants, process_name};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Finds the process outside the tree below `shim` that listens on a local port.
pub(super) fn foreign_listener(shim: Option<u32>, host: &str, port: u16) -> Option<Holder> {
    let table = ListenerTable::default();
    let listeners =
        local_addresses(host).into_iter().map(|address| listeners(&table, address, port, Age::New));
    let listeners: Vec<Vec<String>> = listeners.filter(|sockets| !sockets.is_empty()).collect();
    let tree = shim.map(descendants).unwrap_or_default();
    let own =
        |pid: u32| listeners.iter().any(|sockets| holds(pid, sockets).is_some_and(|held| !held.is_empty()));
    let first = listeners.first()?;
    if tree.into_iter().any(own) {
        return None;
    }
    let pid = holder(first);
    Some(Holder { port, pid, process: pid.map(name) })
}

/// The owner of the listener of a local address, according to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Accepts {
    /// The tree below the shim, and no other process.
    Own,
    /// No visible process, or the address is another machine's.
    Nobody,
    /// Other processes hold these sockets. This is uncertain if a process of the tree cannot be inspected.
    Others { sockets: Vec<String>, is_certain: bool },
}

/// The owner of the listener that a connection to this address would reach. A listener of the service at another
/// address of the same port does not count.
pub(super) fn accepts(known: &PortOwners, shim: u32, at: SocketAddr, age: Age) -> Accepts {
    let address = at.ip().to_canonical();
    if !address.is_loopback() {
        return Accepts::Nobody;
    }
    let sockets = listeners(&known.listeners, address, at.port(), age);
    if sockets.is_empty() {
        return Accepts::Nobody;
    }
    // Several sockets may share an address (`SO_REUSEPORT`), and the kernel chooses one for each connection.
    let mut others: Vec<String> =
        sockets.into_iter().filter(|socket| !known.held.contains(shim, socket)).collect();
    let mut is_certain = true;
    if !others.is_empty() {
        for pid in descendants(shim) {
            match held(pid, &others) {
                Some(held) => {
                    others.retain(|socket| held.iter().all(|(held, _)| held != socket));
                    known.held.insert(shim, held);
                }
                None => is_certain = false,
            }
        }
    }
    if others.is_empty() { Accepts::Own } else { Accepts::Others { sockets: others, is_certain } }
}

/// The foreign listener of an address where the service does not listen; `None` if there is none, or if it is unknown.
///
/// The search may inspect all processes, so it runs on another thread than the runtime's.
pub(super) fn find_foreign_listener(
    known: &PortOwners,
    shim: u32,
    at: SocketAddr,
) -> Option<ForeignListener> {
    let Accepts::Others { sockets, is_certain } = accepts(known, shim, at, Age::New) else { return None };
    let pid = holder(&sockets);
    let holder = Holder { port: at.port(), pid, process: pid.map(name) };
    (pid.is_some() || is_certain).then_some(ForeignListener { at, holder })
}

/// The addresses where the tree below a shim accepts connections; `None` if unknown.
pub(super) fn listens(shim: u32) -> Option<Vec<SocketAddr>> {
    let mut all = Vec::new();
    Listeners::new()
        .and_then(|mut listeners| listeners.each(|port, listener| all.push((port, listener))))
        .ok()?;
    let sockets: Vec<String> = all.iter().map(|(_, listener)| socket(listener)).collect();
    let mut own = Vec::new();
    for pid in descendants(shim) {
        own.extend(holds(pid, &sockets)?);
    }
    let own = all.into_iter().filter(|(_, listener)| own.contains(&socket(listener)));
    Some(own.map(|(port, listener)| SocketAddr::new(listener.address, port)).collect())
}

/// What checks know about listeners and their owners.
#[derive(Debug, Default)]
pub(super) struct PortOwners {
    listeners: ListenerTable,
    held: HeldSockets,
}

/// Known descriptors by which processes of services hold sockets. Reading one link verifies an entry, because a later
/// socket has another inode number. The lock is held only for a lookup and one such read.
#[derive(Debug, Default)]
struct HeldSockets(Mutex<BTreeMap<(u32, String), PathBuf>>);

impl HeldSockets {
    /// The maximum number of entries. Above it, all entries are dropped, including entries of closed sockets.
    const MAX_COUNT: usize = 4096;

    fn contains(&self, shim: u32, socket: &str) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holder = held.get(&(shim, socket.to_owned()));
        holder.is_some_and(|link| std::fs::read_link(link).is_ok_and(|target| target.as_os_str() == socket))
    }

    fn insert(&self, shim: u32, sockets: Vec<(String, PathBuf)>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= Self::MAX_COUNT {
            held.clear();
        }
        held.extend(sockets.into_iter().map(|(socket, descriptor)| ((shim, socket), descriptor)));
    }
}

fn socket(listener: &ListeningSocket) -> String {
    format!("socket:[{}]", listener.inode)
}

/// The sockets that accept connections to this address, in the notation of `/proc/<pid>/fd`: sockets bound to this
/// address; without any, sockets bound to every address of its family; without any, sockets bound to every address.
fn listeners(table: &ListenerTable, address: IpAddr, port: u16, age: Age) -> Vec<String> {
    let [kind, other] = if address.is_ipv4() {
        [AddressFamily::Four, AddressFamily::Six]
    } else {
        [AddressFamily::Six, AddressFamily::Four]
    };
    let of = |listeners: &[ListeningSocket], bound: &dyn Fn(IpAddr) -> bool| -> Vec<String> {
        let bound = listeners.iter().filter(|listener| bound(listener.address));
        bound.map(socket).collect()
    };
    let mut found = table.on_port(kind, port, age);
    let exact = of(&found, &|bound| bound == address);
    if !exact.is_empty() {
        // A second query is avoided, because the query is the slowest part of a check.
        return exact;
    }
    found.extend(table.on_port(other, port, age));
    let everywhere = |bound: IpAddr| bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4();
    let ways = [
        of(&found, &|bound| bound == address),
        of(&found, &everywhere),
        of(&found, &|bound| bound.is_unspecified()),
    ];
    ways.into_iter().find(|sockets| !sockets.is_empty()).unwrap_or_default()
}

/// The sockets among these that a process has open; `None` if the process cannot be inspected. An ending process
/// holds no sockets.
fn holds(pid: u32, sockets: &[String]) -> Option<Vec<String>> {
    held(pid, sockets).map(|held| held.into_iter().map(|(socket, _)| socket).collect())
}

/// The sockets among these that a process has open, each with its descriptor; `None` if the process cannot be
/// inspected.
fn held(pid: u32, sockets: &[String]) -> Option<Vec<(String, PathBuf)>> {
    match std::fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(descriptors) => {
            let found = descriptors.flatten().filter_map(|each| {
                let target = std::fs::read_link(each.path()).ok()?.into_os_string().into_string().ok()?;
                sockets.contains(&target).then(|| (target, each.path()))
            });
            Some(found.collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && !is_ending(pid) => None,
        Err(_) => Some(Vec::new()),
    }
}

/// Whether a process is exiting, by the kernel's flags (field 9 of `/proc/<pid>/stat`). A zombie or a missing process
/// counts as well.
fn is_ending(pid: u32) -> bool {
    const PF_EXITING: u64 = 0x4;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let flags = fields.split_ascii_whitespace().nth(6).and_then(|flags| flags.parse::<u64>().ok());
    service_shim::Process::find(pid).is_none() || flags.is_none_or(|flags| flags & PF_EXITING != 0)
}

/// The holder of one of these sockets. The search inspects all processes, so its result is cached.
fn holder(sockets: &[String]) -> Option<u32> {
    static KNOWN: Mutex<HolderCache> = Mutex::new(HolderCache(BTreeMap::new()));
    let has = |pid: u32| holds(pid, sockets).is_some_and(|held| !held.is_empty());
    let look = || {
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(|pid| has(*pid))
    };
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).holder(sockets, has, look)
}

/// The found holders of sockets, with the number of queries since; `None` for a process that cannot be inspected. A
/// later socket has another inode number. The lock is held during a search, so that concurrent callers do not repeat
/// it.
struct HolderCache(BTreeMap<Vec<String>, (Option<u32>, u32)>);

impl HolderCache {
    /// The maximum number of entries. Above it, all entries are dropped, including entries of closed sockets.
    const MAX_ENTRIES: usize = 256;
    /// The number of queries for which "no visible holder" stays valid. A socket may be passed to another process.
    const MAX_NEGATIVE_CACHE_QUERIES: u32 = 100;

    fn holder(
        &mut self,
        sockets: &[String],
        has: impl Fn(u32) -> bool,
        look: impl FnOnce() -> Option<u32>,
    ) -> Option<u32> {
        // The holder may have ended and left the socket to its children.
        if let Some((known, asked)) = self.0.get_mut(sockets) {
            *asked += 1;
            if known.map_or(*asked <= Self::MAX_NEGATIVE_CACHE_QUERIES, has) {
                return *known;
            }
        }
        if self.0.len() >= Self::MAX_ENTRIES {
            self.0.clear();
        }
        let found = look();
        self.0.insert(sockets.to_vec(), (found, 0));
        found
    }
}

fn name(pid: u32) -> String {
    process_name(pid).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::net::TcpListener;

    #[test]
    fn all_processes_are_looked_through_once_for_as_long_as_the_same_one_holds_the_socket() {
        let (mut known, looks) = (HolderCache(BTreeMap::new()), Cell::new(0));
        let (mut holder, socket) = (Some(7), |inode: u32| vec![format!("socket:[{inode}]")]);
        let mut ask = |inode: u32, holder: Option<u32>| {
            let look = || {
                looks.set(looks.get() + 1);
                holder
            };
            assert_eq!(known.holder(&socket(inode), |pid| Some(pid) == holder, look), holder);
            looks.get()
        };
        assert_eq!([ask(1, holder), ask(1, holder), ask(1, holder)], [1; 3]);
        holder = Some(8);
        assert_eq!([ask(1, holder), ask(1, holder)], [2; 2], "a child of the holder has the socket now");
        assert_eq!([ask(2, None), ask(2, None)], [3; 2], "another user's");
        (0..=HolderCache::MAX_NEGATIVE_CACHE_QUERIES).for_each(|_| {
            ask(2, None);
        });
        assert_eq!(ask(2, None), 4, "the search is repeated, but rarely");
    }

    #[test]
    fn a_listener_outside_the_tree_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let reached = listener.local_addr().unwrap();
        let (nobody, port) = (u32::MAX, reached.port());
        let known = PortOwners::default();
        let refusal = find_foreign_listener(&known, nobody, reached).unwrap().to_string();
        let holder = format!("port {port} is held by pid {}", std::process::id());
        assert!(refusal.starts_with(&holder) && refusal.contains(&format!("at {reached},")), "{refusal}");
        assert_eq!(
            accepts(&known, nobody, SocketAddr::from(([192, 0, 2, 1], port)), Age::Shared),
            Accepts::Nobody,
            "another machine"
        );
    }

    #[test]
    fn a_listener_within_the_tree_is_its_own_for_as_long_as_it_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let reached = listener.local_addr().unwrap();
        let above = nix::unistd::getppid().as_raw().unsigned_abs();
        let known = PortOwners::default();
        assert_eq!(
            [accepts(&known, above, reached, Age::Shared), accepts(&known, above, reached, Age::Shared)],
            [Accepts::Own, Accepts::Own]
        );
        assert!(listens(above).is_none_or(|all| all.contains(&reached)), "if the process can be inspected");
        assert_eq!(find_foreign_listener(&known, above, reached), None);
        // An open connection is not a listener.
        let connected = std::net::TcpStream::connect(reached).unwrap();
        let accepted = listener.accept().unwrap();
        drop(listener);
        assert_eq!(accepts(&known, above, reached, Age::Shared), Accepts::Nobody);
        drop((connected, accepted));
    }

    #[test]
    fn of_two_listeners_on_a_port_the_one_at_the_address_counts() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = four.local_addr().unwrap().port();
        let Ok(six) = TcpListener::bind(("::1", port)) else { return };
        let socket = |listener: &TcpListener| {
            let descriptor = std::os::fd::AsRawFd::as_raw_fd(listener);
            let target = std::fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap();
            vec![target.into_os_string().into_string().unwrap()]
        };
        let table = ListenerTable::default();
        let found =
            |listener: &TcpListener| listeners(&table, listener.local_addr().unwrap().ip(), port, Age::New);
        assert_eq!(found(&four), socket(&four));
        assert_eq!(found(&six), socket(&six));
    }
}
