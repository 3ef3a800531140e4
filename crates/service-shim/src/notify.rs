//! [`Notify`]: the socket on which a service says `READY=1`, as described in `sd_notify(3)`.

use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind,
    getsockname, recvmsg, setsockopt, socket,
};
use nix::unistd::Uid;
use service_shim::protocol::Identity;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Far more than one message needs; what is longer is cut off.
const LONGEST_MESSAGE: usize = 4096;

/// A datagram socket with an abstract name: nothing to clean up, and no directory the service must be let into.
pub(crate) struct Notify {
    socket: OwnedFd,
    name: String,
    /// Anyone can send to an abstract name; only these are heard.
    heard: [u32; 2],
}

impl Notify {
    pub(crate) fn bind(identity: Option<&Identity>) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&socket, PassCred, &true)?;
        // Binding to no name makes the kernel choose a free one: five hexadecimal digits (unix(7), autobind).
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        let address: UnixAddr = getsockname(socket.as_raw_fd())?;
        let name = address.as_abstract().ok_or_else(|| io::Error::other("the kernel gave it no name"))?;
        let name = format!("@{}", String::from_utf8_lossy(name));
        let ours = Uid::effective().as_raw();
        Ok(Self { socket, name, heard: [ours, identity.map_or(ours, |identity| identity.uid)] })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether one of the messages that have come says that the service is ready.
    pub(crate) fn hears_ready(&self) -> bool {
        let mut ready = false;
        while let Ok(says_ready) = self.receive() {
            ready |= says_ready;
        }
        ready
    }

    fn receive(&self) -> nix::Result<bool> {
        let mut message = [0; LONGEST_MESSAGE];
        let mut slices = [IoSliceMut::new(&mut message)];
        // Room for the credentials and nothing else: file descriptors that are sent along are closed by the kernel.
        let mut space = nix::cmsg_space!(UnixCredentials);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        let length = received.bytes;
        let sender = received.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(sender) => Some(sender.uid()),
            _ => None,
        });
        let says_ready = message[..length].split(|&byte| byte == b'\n').any(|line| line == b"READY=1");
        Ok(says_ready && sender.is_some_and(|uid| self.heard.contains(&uid)))
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
