//! Whose port is it? A check of a local port proves something only if the service's own process tree listens there.

use super::listeners::{Family, Listener, on_port};
use crate::usage::descendants;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

/// Who listens on a port that a service wants.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) port: u16,
    /// `None` if it is another user's.
    pub(crate) pid: Option<u32>,
    pub(crate) process: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.process) {
            (Some(pid), Some(process)) => write!(f, "pid {pid} ({process})"),
            _ => f.write_str("a process of another user"),
        }
    }
}

/// Who outside the tree below `keeper`, if there is one, listens on a port of this machine.
pub(super) fn stranger(keeper: Option<u32>, host: &str, port: u16) -> Option<Holder> {
    let listeners = listeners(local(host)?, port);
    let tree = keeper.map(descendants).unwrap_or_default();
    let own = |pid: u32| holds(pid, &listeners).is_some_and(|held| !held.is_empty());
    if listeners.is_empty() || tree.into_iter().any(own) {
        return None;
    }
    let pid = holder(&listeners);
    Some(Holder { port, pid, process: pid.map(name) })
}

/// Refuses an address of this machine at which somebody outside the tree below `keeper` accepts connections, and says who.
/// It is the address that was reached: that the service listens at another one of the same port proves nothing.
///
/// Where the kernel does not let us look, nobody is accused.
pub(super) fn prove(keeper: u32, reached: SocketAddr) -> Result<(), String> {
    let (address, port) = (reached.ip().to_canonical(), reached.port());
    if !address.is_loopback() {
        return Ok(());
    }
    let mut strange = listeners(address, port);
    let mut hidden = false;
    for pid in descendants(keeper) {
        // Several sockets may share an address (`SO_REUSEPORT`), and each of them may answer the next time.
        match holds(pid, &strange) {
            Some(held) => strange.retain(|socket| !held.contains(socket)),
            None => hidden = true,
        }
    }
    if strange.is_empty() {
        return Ok(());
    }
    let holder = match holder(&strange) {
        Some(pid) => format!("pid {pid} ({})", name(pid)),
        None if hidden => return Ok(()),
        None => "a process of another user".to_owned(),
    };
    Err(format!(
        "port {port} is held by {holder}, not by this service; if that is meant, set `listener = \"any\"`"
    ))
}

/// The address of a host that is certainly this machine. Names other than `localhost` may be anybody's.
pub(crate) fn local(host: &str) -> Option<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    host.parse::<IpAddr>().ok().filter(|address| address.is_loopback() || address.is_unspecified())
}

/// The sockets that accept connections to this address, as they stand in `/proc/<pid>/fd`: those that are bound to it, or
/// else those that are bound to every address of its kind, or else to every address.
fn listeners(address: IpAddr, port: u16) -> Vec<String> {
    let [kind, other] =
        if address.is_ipv4() { [Family::Four, Family::Six] } else { [Family::Six, Family::Four] };
    let of = |listeners: &[Listener], bound: &dyn Fn(IpAddr) -> bool| -> Vec<String> {
        let bound = listeners.iter().filter(|listener| bound(listener.address));
        bound.map(|listener| format!("socket:[{}]", listener.inode)).collect()
    };
    let mut found = on_port(kind, port).unwrap_or_default();
    let exact = of(&found, &|bound| bound == address);
    if !exact.is_empty() {
        // To ask takes as long as all else that is done here, and need not be done again.
        return exact;
    }
    found.extend(on_port(other, port).unwrap_or_default());
    let everywhere = |bound: IpAddr| bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4();
    let ways = [
        of(&found, &|bound| bound == address),
        of(&found, &everywhere),
        of(&found, &|bound| bound.is_unspecified()),
    ];
    ways.into_iter().find(|sockets| !sockets.is_empty()).unwrap_or_default()
}

/// Which of these sockets a process has open; nothing if it may not be looked into. One that is ending may not either, and
/// holds nothing.
fn holds(pid: u32, sockets: &[String]) -> Option<Vec<String>> {
    match std::fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(descriptors) => {
            let targets = descriptors.flatten().filter_map(|each| std::fs::read_link(each.path()).ok());
            let targets = targets.filter_map(|target| target.into_os_string().into_string().ok());
            Some(targets.filter(|target| sockets.contains(target)).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && !is_ending(pid) => None,
        Err(_) => Some(Vec::new()),
    }
}

/// Field 9 of `/proc/<pid>/stat` has the kernel's flags of a process; a zombie or no process at all has ended.
fn is_ending(pid: u32) -> bool {
    const PF_EXITING: u64 = 0x4;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let flags = fields.split_ascii_whitespace().nth(6).and_then(|flags| flags.parse::<u64>().ok());
    service_shim::Process::of(pid).is_none() || flags.is_none_or(|flags| flags & PF_EXITING != 0)
}

/// Whoever has one of these sockets open. To find out means to look through all processes: once, and not at every check.
fn holder(sockets: &[String]) -> Option<u32> {
    static KNOWN: Mutex<Known> = Mutex::new(Known(BTreeMap::new()));
    let has = |pid: u32| holds(pid, sockets).is_some_and(|held| !held.is_empty());
    let look = || {
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(|pid| has(*pid))
    };
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).holder(sockets, has, look)
}

/// Who held sockets when that was found out, and how often that has been asked since; none where it was a process that may not
/// be looked into. The kernel gives a socket that comes later another number. A lock is right around it: who comes meanwhile
/// would have to look, too.
struct Known(BTreeMap<Vec<String>, (Option<u32>, u32)>);

impl Known {
    /// More are forgotten all at once: those of sockets that are gone are among them.
    const MOST: usize = 256;
    /// So many times it is believed that nobody who may be looked into holds a socket: it may be given on.
    const BELIEVED: u32 = 100;

    fn holder(
        &mut self,
        sockets: &[String],
        has: impl Fn(u32) -> bool,
        look: impl FnOnce() -> Option<u32>,
    ) -> Option<u32> {
        // One that held it may have ended, with its children left to hold it.
        if let Some((known, asked)) = self.0.get_mut(sockets) {
            *asked += 1;
            if known.map_or(*asked <= Self::BELIEVED, has) {
                return *known;
            }
        }
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        let found = look();
        self.0.insert(sockets.to_vec(), (found, 0));
        found
    }
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::net::TcpListener;

    #[test]
    fn all_processes_are_looked_through_once_for_as_long_as_the_same_one_holds_the_socket() {
        let (mut known, looks) = (Known(BTreeMap::new()), Cell::new(0));
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
        assert_eq!([ask(1, holder), ask(1, holder)], [2; 2], "a child of it holds it now");
        assert_eq!([ask(2, None), ask(2, None)], [3; 2], "another user's");
        (0..=Known::BELIEVED).for_each(|_| {
            ask(2, None);
        });
        assert_eq!(ask(2, None), 4, "that is looked at again, but seldom");
    }

    #[test]
    fn a_listener_outside_the_tree_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let reached = listener.local_addr().unwrap();
        let (nobody, port) = (u32::MAX, reached.port());
        let refusal = prove(nobody, reached).unwrap_err();
        assert!(
            refusal.starts_with(&format!("port {port} is held by pid {}", std::process::id())),
            "{refusal}"
        );
        assert_eq!(prove(nobody, SocketAddr::from(([192, 0, 2, 1], port))), Ok(()), "another machine");
    }

    #[test]
    fn a_listener_within_the_tree_is_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let reached = listener.local_addr().unwrap();
        assert_eq!(prove(nix::unistd::getppid().as_raw().unsigned_abs(), reached), Ok(()));
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
        assert_eq!(listeners(four.local_addr().unwrap().ip(), port), socket(&four));
        assert_eq!(listeners(six.local_addr().unwrap().ip(), port), socket(&six));
    }
}
