//! [`Control`]: the connections of the shim, above all the daemon's. Peers receive the record and send requests.
//!
//! No peer can block the service: a peer that does not read, or that sends no valid request, is disconnected.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::{Mode, umask};
use service_shim::{Files, RunRecord, ShimRequest};
use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The maximum number of peers, which leaves descriptors for the output.
const MAX_PEERS: usize = 32;
/// The delay after a failed `accept`.
const LISTEN_RETRY_DELAY: Duration = Duration::from_millis(100);
/// The size of the read buffer. A request has about thirty bytes.
const MAX_REQUEST_BYTES: usize = 4096;

/// The listener and the peers.
pub(crate) struct Control {
    listener: Option<ControlSocket>,
    peers: Vec<Peer>,
    /// No connection is accepted before this moment.
    paused_until: Option<Instant>,
}

/// A listener with its lock. Dropping it removes the socket file and releases the lock.
struct ControlSocket {
    socket: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket file.
    file: Option<(u64, u64)>,
    lock: File,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(files: &Files) -> io::Result<UnixListener> {
    match std::fs::remove_file(files.socket()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The mode of a socket file is the mask at `bind`. A later chmod would leave the socket open to everyone for a
    // moment.
    let mask = umask(Mode::from_bits_truncate(0o177));
    let socket = files.with_socket_path(|path| UnixListener::bind(path));
    umask(mask);
    let socket = socket?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Device and inode of the file at a path.
fn file_identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Control {
    pub(crate) fn listen(files: &Files, lock: File) -> io::Result<Self> {
        let socket = bind(files)?;
        let path = files.socket();
        let listener = ControlSocket { socket, file: file_identity(&path), path, lock };
        Ok(Self { listener: Some(listener), peers: Vec::new(), paused_until: None })
    }

    /// Locks and listens again if the lock file or the socket file was deleted or replaced.
    pub(crate) fn renew(&mut self, files: &Files) {
        let Some(listener) = &mut self.listener else { return };
        let ours = listener.lock.metadata().ok().map(|lock| (lock.dev(), lock.ino()));
        if file_identity(&files.lock()) != ours {
            match files.try_lock() {
                Ok(Some(lock)) => listener.lock = lock,
                // The lock file belongs to another shim now.
                Ok(None) | Err(_) => return,
            }
        }
        // The run directory may be another one than before.
        let path = files.socket();
        if file_identity(&path) != listener.file
            && let Ok(socket) = bind(files)
        {
            (listener.socket, listener.file, listener.path) = (socket, file_identity(&path), path);
        }
    }

    pub(crate) fn add_peer(&mut self, peer: Peer) {
        if self.peers.len() < MAX_PEERS {
            self.peers.push(peer);
        }
    }

    pub(crate) fn accept(&mut self) {
        while let Some(accepted) = self.listener.as_ref().map(|listener| listener.socket.accept()) {
            match accepted {
                Ok((stream, _)) => {
                    if let Ok(peer) = Peer::new(stream) {
                        self.add_peer(peer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // For example, no descriptor is free. Without a pause, the pending connection would wake the loop again
                // immediately.
                Err(_) => return self.paused_until = Some(Instant::now() + LISTEN_RETRY_DELAY),
            }
        }
    }

    /// The listener, unless `accept` has just failed.
    pub(crate) fn listener(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        let listener = self.listener.as_ref().filter(|_| self.paused_until.is_none_or(|until| until <= now));
        listener.map(|listener| listener.socket.as_fd())
    }

    /// When to accept again after a failure.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| *until > now)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.peers.iter().map(|peer| peer.stream.as_fd())
    }

    pub(crate) fn has_no_peers(&self) -> bool {
        !self.peers.iter().any(|peer| peer.open)
    }

    /// The requests of a peer that is readable.
    pub(crate) fn requests(&mut self, peer: usize) -> Vec<ShimRequest> {
        self.peers[peer].requests()
    }

    /// Sends `revision` of the record to every peer that has not received it, and drops closed connections.
    pub(crate) fn broadcast(&mut self, record: &RunRecord, revision: u64) {
        if self.peers.iter().any(|peer| peer.sent_revision < revision) {
            let line = to_line(record);
            for peer in self.peers.iter_mut().filter(|peer| peer.sent_revision < revision) {
                peer.send(&line);
                peer.sent_revision = revision;
            }
        }
        self.peers.retain(|peer| peer.open);
    }

    /// Sends descriptors to a peer, together with one byte that says which they are.
    pub(crate) fn send_fds(&mut self, peer: usize, label: u8, fds: &[RawFd]) {
        let peer = &mut self.peers[peer];
        let rights = [ControlMessage::ScmRights(fds)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let (socket, label) = (peer.stream.as_raw_fd(), [label]);
        peer.open &= sendmsg::<()>(socket, &[IoSlice::new(&label)], &rights, flags, None).is_ok();
    }

    /// Removes the socket file. From now on the directory may belong to the next run.
    pub(crate) fn stop_listening(&mut self) {
        self.listener = None;
    }
}

/// One connection.
pub(crate) struct Peer {
    stream: UnixStream,
    incoming: Vec<u8>,
    /// The latest revision of the record that was sent.
    sent_revision: u64,
    open: bool,
}

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, incoming: Vec::new(), sent_revision: 0, open: true })
    }

    /// Waits for the first line; `None` if the peer hangs up without one. The bytes after the line are kept for
    /// [`Peer::requests`].
    pub(crate) fn read_first_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.stream.set_nonblocking(false)?;
        let mut chunk = [0; 4096];
        loop {
            if let Some(line) = self.next_line() {
                self.stream.set_nonblocking(true)?;
                return Ok(Some(line));
            }
            match self.stream.read(&mut chunk)? {
                0 if self.incoming.is_empty() => return Ok(None),
                0 => return Err(io::Error::other("the connection ended within its first line")),
                length => self.incoming.extend_from_slice(&chunk[..length]),
            }
        }
    }

    /// Whether the peer has hung up. Earlier input may be unread.
    pub(crate) fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        polled.is_ok() && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    }

    /// Sends a record and hangs up.
    pub(crate) fn send_last(mut self, record: &RunRecord) {
        self.send(&to_line(record));
    }

    fn requests(&mut self) -> Vec<ShimRequest> {
        let mut chunk = [0; 512];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.open = false,
                Ok(length) => self.incoming.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.open = false,
            }
            break;
        }
        let mut requests = Vec::new();
        while let Some(line) = self.next_line() {
            match serde_json::from_slice(&line) {
                Ok(request) => requests.push(request),
                Err(_) => self.open = false,
            }
        }
        self.open &= self.incoming.len() <= MAX_REQUEST_BYTES;
        requests
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let newline = memchr::memchr(b'\n', &self.incoming)?;
        let rest = self.incoming.split_off(newline + 1);
        let mut line = std::mem::replace(&mut self.incoming, rest);
        line.truncate(newline);
        Some(line)
    }

    /// Never waits for space in the socket's buffer. A peer that received half a line is disconnected.
    fn send(&mut self, line: &[u8]) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = loop {
            match socket::send(self.stream.as_raw_fd(), line, flags) {
                Err(Errno::EINTR) => {}
                sent => break sent,
            }
        };
        self.open &= match sent {
            Ok(length) => length == line.len(),
            // The peer has hung up. Its earlier requests are read first, and the end of input disconnects it.
            Err(error) => matches!(error, Errno::EPIPE | Errno::ECONNRESET),
        };
    }
}

fn to_line(record: &RunRecord) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("a record has only string keys");
    line.push(b'\n');
    line
}
