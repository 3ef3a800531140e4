//! Whose port is it? A check of a local port proves something only if the service's own process tree listens there.

use super::listeners::on_port;
use crate::usage::descendants;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

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
    if listeners.is_empty() || tree.into_iter().any(|pid| holds(pid, &listeners) == Some(true)) {
        return None;
    }
    let pid = holder(&listeners);
    Some(Holder { port, pid, process: pid.map(name) })
}

/// Refuses a port of this machine that somebody outside the tree below `keeper` listens on, and says who.
///
/// Where the kernel does not let us look, nobody is accused.
pub(super) fn prove(keeper: u32, host: &str, port: u16) -> Result<(), String> {
    let Some(address) = local(host) else { return Ok(()) };
    let listeners = listeners(address, port);
    let held: Vec<Option<bool>> = descendants(keeper).into_iter().map(|pid| holds(pid, &listeners)).collect();
    if listeners.is_empty() || held.contains(&Some(true)) {
        return Ok(());
    }
    let holder = match holder(&listeners) {
        Some(pid) => format!("pid {pid} ({})", name(pid)),
        None if held.contains(&None) => return Ok(()),
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

/// The sockets that accept connections to this address, as they stand in `/proc/<pid>/fd`.
fn listeners(address: IpAddr, port: u16) -> Vec<String> {
    let reaches = |bound: IpAddr| bound.is_unspecified() || bound.is_loopback() || bound == address;
    let listeners =
        on_port(port).unwrap_or_default().into_iter().filter(|listener| reaches(listener.address));
    listeners.map(|listener| format!("socket:[{}]", listener.inode)).collect()
}

/// Whether a process has one of these sockets open; nothing if it may not be looked into. One that is ending may not
/// either, and holds nothing.
fn holds(pid: u32, sockets: &[String]) -> Option<bool> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"));
    match descriptors {
        Ok(mut descriptors) => Some(
            descriptors
                .any(|descriptor| descriptor.is_ok_and(|descriptor| is_one_of(&descriptor.path(), sockets))),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && !is_ending(pid) => None,
        Err(_) => Some(false),
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

fn is_one_of(descriptor: &Path, sockets: &[String]) -> bool {
    std::fs::read_link(descriptor)
        .is_ok_and(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

fn holder(sockets: &[String]) -> Option<u32> {
    let pids = std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid| holds(*pid, sockets) == Some(true))
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
        let port = listener.local_addr().unwrap().port();
        let nobody = u32::MAX;
        let refusal = prove(nobody, "localhost", port).unwrap_err();
        assert!(
            refusal.starts_with(&format!("port {port} is held by pid {}", std::process::id())),
            "{refusal}"
        );
        assert_eq!(prove(nobody, "example.test", port), Ok(()));
    }

    #[test]
    fn a_listener_within_the_tree_is_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(prove(nix::unistd::getppid().as_raw().unsigned_abs(), "127.0.0.1", port), Ok(()));
    }
}
