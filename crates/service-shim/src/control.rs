//! [`Control`]: those who are connected, the daemon first of all. They are told the record and give orders.
//!
//! Nobody can hold up the service: a peer that does not read what it is told, or says what is no order, is cut off.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, send, sendmsg};
use nix::sys::stat::{Mode, umask};
use service_shim::{Files, Order, Record};
use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// More than anyone needs at once, and few enough never to run out of file descriptors.
const MOST_PEERS: usize = 32;
/// After somebody could not be let in.
const LISTEN_AGAIN: Duration = Duration::from_millis(100);
/// An order is some thirty bytes.
const LONGEST_ORDER: usize = 4096;

/// The listener and the peers.
pub(crate) struct Control {
    listener: Option<Listener>,
    peers: Vec<Peer>,
    /// Until then nobody is let in.
    deaf_until: Option<Instant>,
}

/// Listens for as long as it exists, and takes its file along when it goes. The lock goes with it.
struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Which file that is.
    file: Option<(u64, u64)>,
    lock: File,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(files: &Files) -> io::Result<UnixListener> {
    match std::fs::remove_file(files.socket()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The mode of a socket's file is its mask at `bind`; a later chmod would leave a moment open to everyone.
    let mask = umask(Mode::from_bits_truncate(0o177));
    let socket = files.with_socket_path(|path| UnixListener::bind(path));
    umask(mask);
    let socket = socket?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Which file lies at a path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Control {
    pub(crate) fn listen(files: &Files, lock: File) -> io::Result<Self> {
        let socket = bind(files)?;
        let path = files.socket();
        let listener = Listener { socket, file: identity(&path), path, lock };
        Ok(Self { listener: Some(listener), peers: Vec::new(), deaf_until: None })
    }

    /// Locks and listens anew where the files for that were deleted or replaced.
    pub(crate) fn renew(&mut self, files: &Files) {
        let Some(listener) = &mut self.listener else { return };
        let ours = listener.lock.metadata().ok().map(|lock| (lock.dev(), lock.ino()));
        if identity(&files.lock()) != ours {
            match files.try_lock() {
                Ok(Some(lock)) => listener.lock = lock,
                // What is there now is somebody else's.
                Ok(None) | Err(_) => return,
            }
        }
        if identity(&listener.path) != listener.file
            && let Ok(socket) = bind(files)
        {
            (listener.socket, listener.file) = (socket, identity(&listener.path));
        }
    }

    pub(crate) fn join(&mut self, peer: Peer) {
        if self.peers.len() < MOST_PEERS {
            self.peers.push(peer);
        }
    }

    pub(crate) fn accept(&mut self) {
        while let Some(accepted) = self.listener.as_ref().map(|listener| listener.socket.accept()) {
            match accepted {
                Ok((stream, _)) => {
                    if let Ok(peer) = Peer::new(stream) {
                        self.join(peer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // No descriptor is left, say: whoever knocks goes on doing so, and would keep us busy.
                Err(_) => return self.deaf_until = Some(Instant::now() + LISTEN_AGAIN),
            }
        }
    }

    /// The listener, unless it has just failed.
    pub(crate) fn listener(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        let listener = self.listener.as_ref().filter(|_| self.deaf_until.is_none_or(|until| until <= now));
        listener.map(|listener| listener.socket.as_fd())
    }

    /// When to listen again, after a failure.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        self.deaf_until.filter(|until| *until > now)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.peers.iter().map(|peer| peer.stream.as_fd())
    }

    pub(crate) fn is_alone(&self) -> bool {
        !self.peers.iter().any(|peer| peer.open)
    }

    /// What this peer orders, after it has become readable.
    pub(crate) fn orders(&mut self, peer: usize) -> Vec<Order> {
        self.peers[peer].orders()
    }

    /// Tells `edition` of the record to all that have not heard it, and forgets those that are gone.
    pub(crate) fn tell(&mut self, record: &Record, edition: u64) {
        if self.peers.iter().any(|peer| peer.heard < edition) {
            let line = line(record);
            for peer in self.peers.iter_mut().filter(|peer| peer.heard < edition) {
                peer.tell(&line);
                peer.heard = edition;
            }
        }
        self.peers.retain(|peer| peer.open);
    }

    /// Sends descriptors to a peer, with a byte that says which they are.
    pub(crate) fn lend(&mut self, peer: usize, label: u8, fds: &[RawFd]) {
        let peer = &mut self.peers[peer];
        let rights = [ControlMessage::ScmRights(fds)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let (socket, label) = (peer.stream.as_raw_fd(), [label]);
        peer.open &= sendmsg::<()>(socket, &[IoSlice::new(&label)], &rights, flags, None).is_ok();
    }

    /// Takes the socket's file away: from now on the directory may belong to the next run.
    pub(crate) fn stop_listening(&mut self) {
        self.listener = None;
    }
}

/// One connection.
pub(crate) struct Peer {
    stream: UnixStream,
    incoming: Vec<u8>,
    /// The latest edition of the record it was told.
    heard: u64,
    open: bool,
}

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, incoming: Vec::new(), heard: 0, open: true })
    }

    /// Waits for the first line; `None` if not a word comes. What comes behind it is kept for [`Peer::orders`].
    pub(crate) fn first_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.stream.set_nonblocking(false)?;
        let mut chunk = [0; 4096];
        loop {
            if let Some(line) = self.next_line() {
                self.stream.set_nonblocking(true)?;
                return Ok(Some(line));
            }
            match self.stream.read(&mut chunk)? {
                0 if self.incoming.is_empty() => return Ok(None),
                0 => return Err(io::Error::other("the connection ended before its first line did")),
                length => self.incoming.extend_from_slice(&chunk[..length]),
            }
        }
    }

    /// Whether it has hung up. What it said before that may be unread.
    pub(crate) fn has_gone(&self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        polled.is_ok() && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    }

    /// Tells a record and hangs up.
    pub(crate) fn tell_last(mut self, record: &Record) {
        self.tell(&line(record));
    }

    fn orders(&mut self) -> Vec<Order> {
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
        let mut orders = Vec::new();
        while let Some(line) = self.next_line() {
            match serde_json::from_slice(&line) {
                Ok(order) => orders.push(order),
                Err(_) => self.open = false,
            }
        }
        self.open &= self.incoming.len() <= LONGEST_ORDER;
        orders
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let newline = memchr::memchr(b'\n', &self.incoming)?;
        let rest = self.incoming.split_off(newline + 1);
        let mut line = std::mem::replace(&mut self.incoming, rest);
        line.truncate(newline);
        Some(line)
    }

    /// A line that does not fit into the socket's buffer is not waited for, and half a line is of no use to anyone.
    fn tell(&mut self, line: &[u8]) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = loop {
            match send(self.stream.as_raw_fd(), line, flags) {
                Err(Errno::EINTR) => {}
                sent => break sent,
            }
        };
        self.open &= match sent {
            Ok(length) => length == line.len(),
            // It has hung up. What it ordered before that is still to be read, and the end of that ends it.
            Err(error) => matches!(error, Errno::EPIPE | Errno::ECONNRESET),
        };
    }
}

fn line(record: &Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("a record has only string keys");
    line.push(b'\n');
    line
}
