//! [`LaunchFds`]: the descriptors of a new shim, and how the daemon sends them to the zygote.
//!
//! The daemon creates the pipes and the shared buffer and keeps duplicates of them ([`OrphanedOutput`]). The shim is
//! never their only holder.

use crate::fd_passing::receive;
use crate::orphaned_output::OrphanedOutput;
use crate::shared_buffer::SharedBuffer;
use nix::fcntl::OFlag;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::pipe2;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The number of descriptors.
const COUNT: usize = 6;

/// The descriptors of a new shim.
#[derive(Debug)]
pub struct LaunchFds {
    /// The connection to the daemon, over which the launch is sent.
    pub control: OwnedFd,
    /// By stream: the pipe of the service's output.
    pub pipes: [Pipe; 2],
    /// The memory of a [`SharedBuffer`].
    pub shared_buffer: OwnedFd,
}

/// Both ends of a pipe.
#[derive(Debug)]
pub struct Pipe {
    /// The reading end.
    pub read: OwnedFd,
    /// The writing end.
    pub write: OwnedFd,
}

impl LaunchFds {
    /// Creates the descriptors of one shim. Also returns the daemon's end of the connection, and the duplicates of the
    /// output.
    pub fn create() -> io::Result<(Self, UnixStream, OrphanedOutput)> {
        let (ours, theirs) = UnixStream::pair()?;
        let shared_buffer = SharedBuffer::create()?;
        let pipe = || pipe2(OFlag::O_CLOEXEC).map(|(read, write)| Pipe { read, write });
        let launch_fds = Self { control: theirs.into(), pipes: [pipe()?, pipe()?], shared_buffer };
        let orphaned_output = launch_fds.orphaned_output()?;
        Ok((launch_fds, ours, orphaned_output))
    }

    /// Duplicates of the descriptors that are needed if the shim dies.
    pub fn orphaned_output(&self) -> io::Result<OrphanedOutput> {
        let [stdout, stderr] = &self.pipes;
        let outputs = [Some(stdout.read.try_clone()?), Some(stderr.read.try_clone()?)];
        Ok(OrphanedOutput { shared_buffer: Arc::new(self.shared_buffer.try_clone()?.into()), outputs })
    }

    /// The numbers of the descriptors.
    pub fn raw_fds(&self) -> [RawFd; COUNT] {
        let [stdout, stderr] = &self.pipes;
        [&self.control, &stdout.read, &stdout.write, &stderr.read, &stderr.write, &self.shared_buffer]
            .map(AsRawFd::as_raw_fd)
    }

    /// Sends the descriptors without waiting for space in the socket's buffer.
    pub fn send(&self, zygote: &impl AsRawFd) -> nix::Result<()> {
        let fds = self.raw_fds();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(zygote.as_raw_fd(), &[IoSlice::new(b"!")], &rights, flags, None).map(drop)
    }

    /// Waits for the next message; `None` if the sender has hung up.
    pub fn receive(socket: &impl AsRawFd) -> nix::Result<Option<Self>> {
        loop {
            match receive(socket, &mut [0])? {
                (0, _) => return Ok(None),
                (_, fds) => {
                    // Fewer descriptors arrive if this process has too few free ones. The received descriptors are
                    // closed, which hangs up on the daemon.
                    if let Ok(fds) = <[OwnedFd; COUNT]>::try_from(fds) {
                        let [control, out_read, out_write, err_read, err_write, shared_buffer] = fds;
                        let stdout = Pipe { read: out_read, write: out_write };
                        let stderr = Pipe { read: err_read, write: err_write };
                        return Ok(Some(Self { control, pipes: [stdout, stderr], shared_buffer }));
                    }
                }
            }
        }
    }
}
