//! `tcp://` and `unix://`: the check passes when the connection is accepted.

use super::connect::{ProbeRequest, Reach};
use super::error::ProbeError;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::Mode;
use service_host::fs::MAX_SOCKET_NAME_BYTES;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;

/// The delay before a retry if the accept queue is full.
const RETRY_DELAY: Duration = Duration::from_millis(5);

pub(super) async fn tcp(reach: &Reach<'_>) -> Result<String, ProbeError> {
    reach
        .probe(AcceptRequest)
        .await
        .map(|()| format!("{} accepts connections", reach.shown.trim_start_matches("tcp://")))
}

/// The check passes once the connection is established.
struct AcceptRequest;

impl ProbeRequest for AcceptRequest {
    type Output = ();

    async fn send_request(&self, _stream: TcpStream) -> Result<(), ProbeError> {
        Ok(())
    }
}

/// Checks a Unix socket: an absolute path, or an `@` and a name in the abstract namespace.
pub(super) async fn unix(name: &str, shown: &str) -> Result<String, ProbeError> {
    let refused = |error: io::Error| ProbeError::not_connected(shown, error);
    // The descriptor stays open while its address is used.
    let (address, _target) = address(name).map_err(refused)?;
    for kind in [SockType::Stream, SockType::SeqPacket, SockType::Datagram] {
        match connect_once(&address, kind).await {
            Ok(()) if kind == SockType::Datagram => return Ok(format!("{name} takes datagrams")),
            Ok(()) => return Ok(format!("{name} accepts connections")),
            Err(Errno::EPROTOTYPE) => {}
            // Abstract names are separate for each socket type, so a refused connection may mean another type.
            Err(Errno::ECONNREFUSED) if name.starts_with('@') => {}
            Err(error) => return Err(refused(error.into())),
        }
    }
    let nobody = if name.starts_with('@') { Errno::ECONNREFUSED } else { Errno::EPROTOTYPE };
    Err(refused(nobody.into()))
}

/// The address of a Unix socket. A path that is too long is replaced by a path through a descriptor of the file.
fn address(name: &str) -> io::Result<(UnixAddr, Option<OwnedFd>)> {
    if let Some(name) = name.strip_prefix('@') {
        return Ok((UnixAddr::new_abstract(name.as_bytes())?, None));
    }
    if name.len() <= MAX_SOCKET_NAME_BYTES {
        return Ok((UnixAddr::new(Path::new(name))?, None));
    }
    let target = open(Path::new(name), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let address = UnixAddr::new(Path::new(&format!("/proc/self/fd/{}", target.as_raw_fd())))?;
    Ok((address, Some(target)))
}

/// Connects and disconnects.
async fn connect_once(address: &UnixAddr, kind: SockType) -> nix::Result<()> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, kind, flags, None)?;
    loop {
        match connect(socket.as_raw_fd(), address) {
            // The accept queue is full: the listener exists, but it may have stopped accepting connections.
            Err(Errno::EAGAIN) => tokio::time::sleep(RETRY_DELAY).await,
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Backlog, bind, listen};
    use service_host::fs::MAX_SOCKET_NAME_BYTES;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

    async fn probe(name: &str) -> Result<String, String> {
        let shown = format!("unix://{name}");
        unix(name, &shown)
            .await
            .map_err(|error| error.to_string().replace(&shown, "it"))
            .map(|said| said.replace(name, "it"))
    }

    #[tokio::test]
    async fn an_abstract_name_is_asked() {
        let name = format!("checked-by-{}", std::process::id());
        assert_eq!(probe(&format!("@{name}")).await.unwrap_err(), "connection refused at it");
        let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        assert_eq!(probe(&format!("@{name}")).await.unwrap(), "it accepts connections");
        assert!(probe(&format!("@{}", "x".repeat(MAX_SOCKET_NAME_BYTES + 1))).await.is_err());
    }

    #[tokio::test]
    async fn a_path_of_any_length_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("s".repeat(110));
        let shown = path.display().to_string();
        assert_eq!(probe(&shown).await.unwrap_err(), "cannot connect to it: No such file or directory");
        let short = directory.path().join("s");
        let listener = UnixListener::bind(&short).unwrap();
        std::fs::rename(&short, &path).unwrap();
        assert_eq!(probe(&shown).await.unwrap(), "it accepts connections");
        drop(listener);
        assert_eq!(probe(&shown).await.unwrap_err(), "connection refused at it");
    }

    #[tokio::test]
    async fn sockets_of_other_types_are_asked_as_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let _datagrams = UnixDatagram::bind(path("datagram")).unwrap();
        assert_eq!(probe(&path("datagram")).await.unwrap(), "it takes datagrams");
        let packets = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(packets.as_raw_fd(), &UnixAddr::new(Path::new(&path("packets"))).unwrap()).unwrap();
        assert_eq!(probe(&path("packets")).await.unwrap_err(), "connection refused at it");
        listen(&packets, Backlog::new(8).unwrap()).unwrap();
        assert_eq!(probe(&path("packets")).await.unwrap(), "it accepts connections");
        // Each socket type has its own abstract names.
        let name = |name: &str| format!("@sockets-{}-{name}", std::process::id());
        assert_eq!(probe(&name("nobody")).await.unwrap_err(), "connection refused at it");
        for (kind, said) in
            [(SockType::SeqPacket, "it accepts connections"), (SockType::Datagram, "it takes datagrams")]
        {
            let name = name(said);
            let abstract_one = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
            let address = UnixAddr::new_abstract(&name.as_bytes()[1..]).unwrap();
            bind(abstract_one.as_raw_fd(), &address).unwrap();
            if kind == SockType::SeqPacket {
                listen(&abstract_one, Backlog::new(8).unwrap()).unwrap();
            }
            assert_eq!(probe(&name).await.unwrap(), said);
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_waited_for_and_no_answer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("full").display().to_string();
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(Path::new(&path)).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let listener = UnixListener::from(listener);
        let waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let asks = tokio::spawn(async move { probe(&path).await });
        tokio::time::sleep(4 * RETRY_DELAY).await;
        assert!(!asks.is_finished());
        listener.accept().unwrap();
        assert_eq!(asks.await.unwrap().unwrap(), "it accepts connections");
        drop(waiting);
    }
}
