//! [`Notify`]: the socket on which a service reports its readiness and status, as described in `sd_notify(3)`.

use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind,
    getsockname, recvmsg, setsockopt, socket,
};
use nix::unistd::Uid;
use service_shim::process::boot_time;
use service_shim::protocol::Identity;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The maximum length of a message. A longer message is truncated.
const MAX_MESSAGE_BYTES: usize = 4096;
/// The maximum length of a status, which is one line of text.
const MAX_STATUS_CHARS: usize = 400;

/// The contents of the received messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) ready: bool,
    pub(crate) status: Option<String>,
    /// The moment, in [`boot_time`], to which the service extends its timeout.
    pub(crate) extended_to: Option<u64>,
}

impl Notification {
    /// Adds the contents of one message.
    fn parse_message(&mut self, message: &[u8], now: u64) {
        for line in message.split(|&byte| byte == b'\n') {
            match line.iter().position(|&byte| byte == b'=').map(|equals| line.split_at(equals)) {
                Some((b"READY", b"=1")) => self.ready = true,
                Some((b"STATUS", status)) => {
                    let status = String::from_utf8_lossy(&status[1..]);
                    self.status = Some(status.trim().chars().take(MAX_STATUS_CHARS).collect());
                }
                Some((b"EXTEND_TIMEOUT_USEC", time)) => {
                    let time =
                        std::str::from_utf8(&time[1..]).ok().and_then(|time| time.trim().parse::<u64>().ok());
                    self.extended_to =
                        time.map(|time| now.saturating_add(time.saturating_mul(1000))).or(self.extended_to);
                }
                _ => {}
            }
        }
    }
}

/// A datagram socket with an abstract name: there is no file to remove, and the service needs no access to a directory.
pub(crate) struct Notify {
    socket: OwnedFd,
    name: String,
    /// Any process can send to an abstract name; messages of other users are ignored.
    allowed_uids: [u32; 2],
}

impl Notify {
    pub(crate) fn bind(identity: Option<&Identity>) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&socket, PassCred, &true)?;
        // Binding without a name makes the kernel choose a free one of five hexadecimal digits (unix(7), autobind).
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        let address: UnixAddr = getsockname(socket.as_raw_fd())?;
        let name =
            address.as_abstract().ok_or_else(|| io::Error::other("the kernel assigned no name to it"))?;
        let name = format!("@{}", String::from_utf8_lossy(name));
        let ours = Uid::effective().as_raw();
        Ok(Self { socket, name, allowed_uids: [ours, identity.map_or(ours, |identity| identity.uid)] })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Receives all messages that have arrived.
    pub(crate) fn receive_all(&self) -> Notification {
        let mut notification = Notification::default();
        while self.receive(&mut notification).is_ok() {}
        notification
    }

    fn receive(&self, notification: &mut Notification) -> nix::Result<()> {
        let mut message = [0; MAX_MESSAGE_BYTES];
        let mut slices = [IoSliceMut::new(&mut message)];
        // This is space for the credentials only. If a message contains descriptors, the kernel closes them.
        let mut space = nix::cmsg_space!(UnixCredentials);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        let length = received.bytes;
        let sender = received.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(sender) => Some(sender.uid()),
            _ => None,
        });
        if sender.is_some_and(|uid| self.allowed_uids.contains(&uid)) {
            notification.parse_message(&message[..length], boot_time());
        }
        Ok(())
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_say_several_things_and_what_is_odd_says_nothing() {
        let mut notification = Notification::default();
        notification
            .parse_message(b"EXTEND_TIMEOUT_USEC=3000000\nSTATUS=replaying the journal\nMAINPID=1", 5);
        assert_eq!(notification.status.as_deref(), Some("replaying the journal"));
        assert_eq!((notification.extended_to, notification.ready), (Some(3_000_000_005), false));
        notification.parse_message(b"READY=0\nREADY=1x\nEXTEND_TIMEOUT_USEC=soon\n=\n", 6);
        assert_eq!((notification.extended_to, notification.ready), (Some(3_000_000_005), false));
        notification.parse_message(b"READY=1\nSTATUS=\nEXTEND_TIMEOUT_USEC=18446744073709551615", 6);
        assert_eq!(
            notification,
            Notification { ready: true, status: Some(String::new()), extended_to: Some(u64::MAX) }
        );
    }
}
