//! Whose port is it? A check of a local port proves something only if the service's own process tree listens there.

use super::listeners::on_port;
use crate::usage::descendants;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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
    let found = on_port(port).unwrap_or_default();
    let of = |bound: &dyn Fn(IpAddr) -> bool| -> Vec<String> {
        let bound = found.iter().filter(|listener| bound(listener.address));
        bound.map(|listener| format!("socket:[{}]", listener.inode)).collect()
    };
    let everywhere = |bound: IpAddr| bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4();
    let ways = [of(&|bound| bound == address), of(&everywhere), of(&|bound| bound.is_unspecified())];
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

fn holder(sockets: &[String]) -> Option<u32> {
    let pids = std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid| holds(*pid, sockets).is_some_and(|held| !held.is_empty()))
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

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
