//! [`Notify`]: the socket on which a service says `READY=1` and how it is, as described in `sd_notify(3)`.

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

/// Far more than one message needs; what is longer is cut off.
const LONGEST_MESSAGE: usize = 4096;
/// A status is one line for people.
const LONGEST_STATUS: usize = 400;

/// What was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) ready: bool,
    pub(crate) status: Option<String>,
    /// The moment, of [`boot_time`], to which it asks for time.
    pub(crate) extended_to: Option<u64>,
}

impl Words {
    /// Takes in one message.
    fn hear(&mut self, message: &[u8], now: u64) {
        for line in message.split(|&byte| byte == b'\n') {
            match line.iter().position(|&byte| byte == b'=').map(|equals| line.split_at(equals)) {
                Some((b"READY", b"=1")) => self.ready = true,
                Some((b"STATUS", status)) => {
                    let status = String::from_utf8_lossy(&status[1..]);
                    self.status = Some(status.trim().chars().take(LONGEST_STATUS).collect());
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

    /// What the messages say that have come.
    pub(crate) fn hear(&self) -> Words {
        let mut words = Words::default();
        while self.receive(&mut words).is_ok() {}
        words
    }

    fn receive(&self, words: &mut Words) -> nix::Result<()> {
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
        if sender.is_some_and(|uid| self.heard.contains(&uid)) {
            words.hear(&message[..length], boot_time());
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
        let mut words = Words::default();
        words.hear(b"EXTEND_TIMEOUT_USEC=3000000\nSTATUS=replaying the journal\nMAINPID=1", 5);
        assert_eq!(words.status.as_deref(), Some("replaying the journal"));
        assert_eq!((words.extended_to, words.ready), (Some(3_000_000_005), false));
        words.hear(b"READY=0\nREADY=1x\nEXTEND_TIMEOUT_USEC=soon\n=\n", 6);
        assert_eq!((words.extended_to, words.ready), (Some(3_000_000_005), false));
        words.hear(b"READY=1\nSTATUS=\nEXTEND_TIMEOUT_USEC=18446744073709551615", 6);
        assert_eq!(words, Words { ready: true, status: Some(String::new()), extended_to: Some(u64::MAX) });
    }
}
