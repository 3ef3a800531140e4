//! Receives descriptors over a Unix socket (`SCM_RIGHTS`, see unix(7)).

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The limit of descriptors in one message.
const MAX_FDS: usize = 6;

/// Receives bytes, and the descriptors that came with them.
#[expect(unsafe_code, reason = "the kernel passes descriptors as numbers")]
pub(crate) fn receive(socket: &impl AsRawFd, bytes: &mut [u8]) -> nix::Result<(usize, Vec<OwnedFd>)> {
    let mut slices = [IoSliceMut::new(bytes)];
    let mut space = cmsg_space!([RawFd; MAX_FDS]);
    let received = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            received => break received?,
        }
    };
    let mut fds = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: the kernel has just opened these descriptors for this process; nothing else owns them.
            fds.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    Ok((received.bytes, fds))
}
