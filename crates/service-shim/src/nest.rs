//! [`Nest`]: the template's life. It forks shims, and cleans up after one that was killed.
//!
//! What a shim kept is orphaned when it is killed, and comes to the nearest subreaper: here. A child of ours that is no shim
//! is what a dead one left, wherever it has gone and whatever it has made of its environment, and is killed. So the
//! template stays as long as it has shims, also after its daemon. And it writes down what a killed shim had not, so that
//! nothing of that is lost when there is no daemon.

use crate::shim;
use crate::tree::{self, Reaped};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, fork};
use service_shim::desk::claim;
use service_shim::words::{in_words, no_process};
use service_shim::{Exit, Heritage, Parcel, strays};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// The descriptors of a [`Heritage`], and how many are kept for everything else: a parcel, a shim that is forked, a log that is
/// written down.
const OF_A_HERITAGE: u64 = 3;
const KEPT: u64 = 32;

/// The shims that live, and where their ends are told.
pub(crate) struct Nest {
    shims: HashMap<u32, Option<Heritage>>,
    /// What shims that were killed have left.
    left: Vec<Heritage>,
    /// Shims, or processes that one has left.
    has_children: bool,
    /// How many descriptors a service may have open.
    descriptors: Option<u64>,
    ends: SignalFd,
}

impl Nest {
    pub(crate) fn new(descriptors: Option<u64>) -> nix::Result<Self> {
        prctl::set_child_subreaper(true)?;
        take_defaults()?;
        let ends = SigSet::from(Signal::SIGCHLD);
        ends.thread_set_mask()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let ends = SignalFd::with_flags(&ends, flags)?;
        Ok(Self { shims: HashMap::new(), left: Vec::new(), has_children: false, descriptors, ends })
    }

    /// Returns when neither the daemon nor anything of a shim is left; in a shim, when it has done its work.
    pub(crate) fn tend(mut self, daemon: UnixStream) -> io::Result<()> {
        let mut daemon = Some(daemon);
        while daemon.is_some() || self.has_children {
            let [asked, ended] = self.wait(daemon.as_ref());
            if ended {
                self.clean_up();
            }
            let Some(socket) = daemon.as_ref().filter(|_| asked) else { continue };
            // A parcel that cannot be taken, for want of descriptors say, is asked of another template. This one stays for
            // the shims it has.
            let Ok(Some(parcel)) = Parcel::receive(socket) else {
                daemon = None;
                self.end_unclaimed();
                continue;
            };
            // Without descriptors for it the daemon has it still.
            let heritage = if self.has_room() { parcel.heritage().ok() } else { None };
            // SAFETY: this process has a single thread, so no lock is held by another one.
            #[expect(unsafe_code, reason = "a fork is unsafe in general")]
            match unsafe { fork() } {
                Ok(ForkResult::Parent { child }) => {
                    self.shims.insert(child.as_raw().cast_unsigned(), heritage);
                    self.has_children = true;
                }
                Ok(ForkResult::Child) => {
                    let descriptors = self.descriptors;
                    let others = (daemon, heritage, self);
                    // What all the other shims would leave is let go at one go: there may be thousands of them.
                    match strays::close_but(&mut parcel.numbers()) {
                        true => std::mem::forget(others),
                        false => drop(others),
                    }
                    return shim::run(parcel, descriptors);
                }
                Err(error) => refuse(parcel, error),
            }
        }
        Ok(())
    }

    /// Whether one more heritage leaves enough for what comes: parcels are taken as long as there is a descriptor for each of
    /// theirs.
    fn has_room(&self) -> bool {
        let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let held = self.shims.values().flatten().count() + self.left.len();
        (held as u64 + 1) * OF_A_HERITAGE + KEPT <= most
    }

    /// Whether the daemon wants something, and whether somebody has ended.
    fn wait(&self, daemon: Option<&UnixStream>) -> [bool; 2] {
        let mut fds = vec![PollFd::new(self.ends.as_fd(), PollFlags::POLLIN)];
        fds.extend(daemon.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        // It fails only by being interrupted. Then there is nothing yet, which is also what it says.
        let _ = poll(&mut fds, PollTimeout::NONE);
        let ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        [ready(fds.get(1)), ready(fds.first())]
    }

    /// Nobody will launch anything with shims that wait. They end by themselves, but for one that is frozen.
    fn end_unclaimed(&self) {
        for (pid, heritage) in &self.shims {
            if heritage.as_ref().is_some_and(|heritage| claim::withdraw(&heritage.desk).is_ok()) {
                tree::send(*pid, Signal::SIGKILL);
            }
        }
    }

    fn clean_up(&mut self) {
        while let Ok(Some(_)) = self.ends.read_signal() {}
        self.has_children = loop {
            match tree::reap() {
                // One that has done its work has left nothing.
                Reaped::Ended(pid, Exit::Code(_)) => drop(self.shims.remove(&pid)),
                Reaped::Ended(pid, Exit::Signal(_)) => self.left.extend(self.shims.remove(&pid).flatten()),
                Reaped::NoneYet => break true,
                Reaped::NoneLeft => break false,
            }
        };
        // What those that are killed here leave comes here next, with another signal.
        let orphans: Vec<u32> =
            tree::children().into_iter().filter(|pid| !self.shims.contains_key(pid)).collect();
        for orphan in &orphans {
            tree::send(*orphan, Signal::SIGKILL);
        }
        if orphans.is_empty() {
            for heritage in self.left.drain(..) {
                if let Err(error) = heritage.write_down_by_label() {
                    eprintln!("service-shim: cannot write down what a killed shim has left: {error}");
                }
            }
        }
    }
}

/// Nobody is told of a shim that could not be born, except by us.
fn refuse(parcel: Parcel, error: nix::Error) {
    let message = format!("its keeper cannot be forked: {}", in_words(&no_process(error.into())));
    if let Err(error) = shim::refuse(parcel, message) {
        eprintln!("service-shim: {error}");
    }
}

/// What every shim inherits: no signal is ignored, as `nohup` before the daemon would have it, for that would reach the
/// service, and an ignored `SIGCHLD` would make the kernel throw exit statuses away. `SIGPIPE` stays as Rust has set it; it
/// is given back its default by `Command`.
#[expect(unsafe_code, reason = "changing what a signal does is unsafe in general")]
fn take_defaults() -> nix::Result<()> {
    for number in Signal::iterator() {
        if !matches!(number, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE) {
            // SAFETY: no handler is installed, and this process has none whose replacement could break anything.
            unsafe { signal(number, SigHandler::SigDfl) }?;
        }
    }
    Ok(())
}
