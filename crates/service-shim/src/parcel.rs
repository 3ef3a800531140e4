//! [`Parcel`]: the descriptors that a shim is born with, and how they travel from the daemon to the template process.
//!
//! The daemon makes the pipes and the desk and keeps what it needs to take over ([`Heritage`]): there is no moment at which
//! only the shim has them.

use crate::desk::Desk;
use crate::fd_passing::receive;
use crate::heritage::Heritage;
use nix::fcntl::OFlag;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::pipe2;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// How many descriptors a shim is given.
const COUNT: usize = 6;

/// What a shim is born with.
#[derive(Debug)]
pub struct Parcel {
    /// The connection to the daemon, on which the launch comes.
    pub control: OwnedFd,
    /// By stream: where the service's output is read, and where the service writes it.
    pub pipes: [Pipe; 2],
    /// The memory of a [`Desk`].
    pub desk: OwnedFd,
}

/// Both ends of a pipe.
#[derive(Debug)]
pub struct Pipe {
    /// For reading.
    pub read: OwnedFd,
    /// For writing.
    pub write: OwnedFd,
}

impl Parcel {
    /// Everything for one shim, the other end of its connection, and what to keep in case that it dies.
    pub fn pack() -> io::Result<(Self, UnixStream, Heritage)> {
        let (ours, theirs) = UnixStream::pair()?;
        let desk = Desk::make()?;
        let pipe = || pipe2(OFlag::O_CLOEXEC).map(|(read, write)| Pipe { read, write });
        let parcel = Self { control: theirs.into(), pipes: [pipe()?, pipe()?], desk };
        let heritage = parcel.heritage()?;
        Ok((parcel, ours, heritage))
    }

    /// What is kept of it in case that its shim dies.
    pub fn heritage(&self) -> io::Result<Heritage> {
        let [stdout, stderr] = &self.pipes;
        let outputs = [Some(stdout.read.try_clone()?), Some(stderr.read.try_clone()?)];
        Ok(Heritage { desk: Arc::new(self.desk.try_clone()?.into()), outputs })
    }

    /// The numbers of its descriptors.
    pub fn numbers(&self) -> [RawFd; COUNT] {
        let [stdout, stderr] = &self.pipes;
        [&self.control, &stdout.read, &stdout.write, &stderr.read, &stderr.write, &self.desk]
            .map(AsRawFd::as_raw_fd)
    }

    /// Sends it, without waiting for room.
    pub fn send(&self, template: &impl AsRawFd) -> nix::Result<()> {
        let fds = self.numbers();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(template.as_raw_fd(), &[IoSlice::new(b"!")], &rights, flags, None).map(drop)
    }

    /// Waits for the next one; `None` when the sender is gone.
    pub fn receive(socket: &impl AsRawFd) -> nix::Result<Option<Self>> {
        loop {
            match receive(socket, &mut [0])? {
                (0, _) => return Ok(None),
                (_, fds) => {
                    // Fewer come when no descriptor is left for all of them. They are closed, and whoever waits at the other
                    // end of the connection sees that.
                    if let Ok(fds) = <[OwnedFd; COUNT]>::try_from(fds) {
                        let [control, out_read, out_write, err_read, err_write, desk] = fds;
                        let stdout = Pipe { read: out_read, write: out_write };
                        let stderr = Pipe { read: err_read, write: err_write };
                        return Ok(Some(Self { control, pipes: [stdout, stderr], desk }));
                    }
                }
            }
        }
    }
}
