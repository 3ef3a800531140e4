//! [`Zygote`]: forks shims, and cleans up after a shim that was killed.
//!
//! If a shim is killed, its processes are reparented to the nearest subreaper, the zygote. Any child of the zygote that
//! is not a shim is such a process, whatever its session or environment, and is killed. The zygote therefore exits
//! after its last shim, also when its daemon has exited. The zygote flushes the output that a killed shim had not
//! written, so that no output is lost while no daemon runs.

use crate::process_tree::{self, Reaped};
use crate::shim;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, fork};
use service_shim::error_text::{describe_error, explain_process_limit};
use service_shim::shared_buffer::claim;
use service_shim::{Exit, LaunchFds, OrphanedOutput, close_fds};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// The descriptors of one [`OrphanedOutput`], and the descriptors reserved for everything else: a received
/// [`LaunchFds`], a forked shim, a log that is flushed.
const FDS_PER_SHIM: u64 = 3;
const RESERVED_FDS: u64 = 32;

/// The running shims, and the signals that report their exits.
pub(crate) struct Zygote {
    shims: HashMap<u32, Option<OrphanedOutput>>,
    /// The output of shims that were killed.
    orphaned: Vec<OrphanedOutput>,
    /// Whether the zygote has children: shims, or processes of a killed shim.
    has_children: bool,
    /// The limit of open descriptors for a service.
    descriptors: Option<u64>,
    ends: SignalFd,
}

impl Zygote {
    pub(crate) fn new(descriptors: Option<u64>) -> nix::Result<Self> {
        prctl::set_child_subreaper(true)?;
        reset_signals()?;
        let ends = SigSet::from(Signal::SIGCHLD);
        ends.thread_set_mask()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let ends = SignalFd::with_flags(&ends, flags)?;
        Ok(Self { shims: HashMap::new(), orphaned: Vec::new(), has_children: false, descriptors, ends })
    }

    /// In the zygote, returns when the daemon has exited and no child is left. In a shim, returns when its run is over.
    pub(crate) fn run(mut self, daemon: UnixStream) -> io::Result<()> {
        let mut daemon = Some(daemon);
        while daemon.is_some() || self.has_children {
            let [asked, ended] = self.wait(daemon.as_ref());
            if ended {
                self.clean_up();
            }
            let Some(socket) = daemon.as_ref().filter(|_| asked) else { continue };
            // If a message cannot be received, for example without free descriptors, the daemon starts another zygote.
            // This zygote continues for its own shims.
            let Ok(Some(launch_fds)) = LaunchFds::receive(socket) else {
                daemon = None;
                self.kill_unclaimed();
                continue;
            };
            // Without free descriptors only the daemon holds the output.
            let orphaned_output = if self.has_free_fds() { launch_fds.orphaned_output().ok() } else { None };
            // SAFETY: this process has a single thread, so no other thread holds a lock.
            #[expect(unsafe_code, reason = "a fork is unsafe in general")]
            match unsafe { fork() } {
                Ok(ForkResult::Parent { child }) => {
                    self.shims.insert(child.as_raw().cast_unsigned(), orphaned_output);
                    self.has_children = true;
                }
                Ok(ForkResult::Child) => {
                    let descriptors = self.descriptors;
                    let others = (daemon, orphaned_output, self);
                    // Closes the descriptors of all other shims in one call: there may be thousands of them.
                    match close_fds::close_except(&mut launch_fds.raw_fds()) {
                        true => std::mem::forget(others),
                        false => drop(others),
                    }
                    return shim::run(launch_fds, descriptors);
                }
                Err(error) => report_failed_fork(launch_fds, error),
            }
        }
        Ok(())
    }

    /// Whether enough descriptors remain free after one more [`OrphanedOutput`]. A message is received only if all of
    /// its descriptors can be received.
    fn has_free_fds(&self) -> bool {
        let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let held = self.shims.values().flatten().count() + self.orphaned.len();
        (held as u64 + 1) * FDS_PER_SHIM + RESERVED_FDS <= most
    }

    /// Whether the daemon has sent something, and whether a child has exited.
    fn wait(&self, daemon: Option<&UnixStream>) -> [bool; 2] {
        let mut fds = vec![PollFd::new(self.ends.as_fd(), PollFlags::POLLIN)];
        fds.extend(daemon.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        // `poll` fails only when a signal interrupts it. Then nothing is ready yet.
        let _ = poll(&mut fds, PollTimeout::NONE);
        let ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        [ready(fds.get(1)), ready(fds.first())]
    }

    /// Kills the waiting shims, to which no daemon will send a launch. Unless frozen, such a shim also exits by itself.
    fn kill_unclaimed(&self) {
        for (pid, orphaned_output) in &self.shims {
            if orphaned_output
                .as_ref()
                .is_some_and(|orphaned_output| claim::withdraw(&orphaned_output.shared_buffer).is_ok())
            {
                process_tree::send(*pid, Signal::SIGKILL);
            }
        }
    }

    fn clean_up(&mut self) {
        while let Ok(Some(_)) = self.ends.read_signal() {}
        self.has_children = loop {
            match process_tree::reap() {
                // A shim that exited by itself leaves no output.
                Reaped::Ended(pid, Exit::Code(_)) => drop(self.shims.remove(&pid)),
                Reaped::Ended(pid, Exit::Signal(_)) => {
                    self.orphaned.extend(self.shims.remove(&pid).flatten());
                }
                Reaped::NoneYet => break true,
                Reaped::NoneLeft => break false,
            }
        };
        // The children of the killed processes are reparented to the zygote next, with another SIGCHLD.
        let orphans: Vec<u32> =
            process_tree::children().into_iter().filter(|pid| !self.shims.contains_key(pid)).collect();
        for orphan in &orphans {
            process_tree::send(*orphan, Signal::SIGKILL);
        }
        if orphans.is_empty() {
            for orphaned_output in self.orphaned.drain(..) {
                if let Err(error) = orphaned_output.flush_to_owner_log() {
                    eprintln!("service-shim: cannot flush the output of a killed shim: {error}");
                }
            }
        }
    }
}

/// Reports to the daemon that no shim could be forked, in place of the shim.
fn report_failed_fork(launch_fds: LaunchFds, error: nix::Error) {
    let message =
        format!("its shim cannot be forked: {}", describe_error(&explain_process_limit(error.into())));
    if let Err(error) = shim::report_failed_fork(launch_fds, message) {
        eprintln!("service-shim: {error}");
    }
}

/// Resets the signals that every shim inherits. A signal that is ignored, for example by `nohup`, would stay ignored in
/// the service, and an ignored `SIGCHLD` makes the kernel discard exit statuses. `SIGPIPE` stays as Rust sets it;
/// `Command` restores its default.
#[expect(unsafe_code, reason = "changing a signal action is unsafe in general")]
fn reset_signals() -> nix::Result<()> {
    for number in Signal::iterator() {
        if !matches!(number, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE) {
            // SAFETY: no handler is installed, and this process has none whose replacement could break anything.
            unsafe { signal(number, SigHandler::SigDfl) }?;
        }
    }
    Ok(())
}
