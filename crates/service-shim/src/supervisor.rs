//! [`Supervisor`]: the event loop of one running service, from its start until its last process has exited.

pub(crate) mod streams;

use crate::control::Control;
use crate::notify::{Notification, Notify};
use crate::process_tree::{self, Reaped};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeSpec;
use service_shim::log::LogWriter;
use service_shim::shared_buffer::SharedBuffer;
use service_shim::{DroppedLines, Exit, Files, OrphanedOutput, Phase, RunRecord, ShimRequest, process};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use streams::{Streams, Used};

/// The delay before a failed write of the record is retried, and the interval at which dropped lines are reported.
const SAVE_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The delay before a process tree that is being killed is signalled again. The delay doubles from the first to the
/// second value while no process exits.
const KILL_RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];
/// The delay between a signal to the children and the same signal to the rest of the tree. In most trees the children
/// are all processes, and searching for others takes longer than sending the signal.
const TREE_SIGNAL_DELAY: Duration = Duration::from_millis(10);
/// The idle time of the output before its memory is freed.
const SHRINK_DELAY: Duration = Duration::from_secs(1);

/// The minimum interval between two reports of the service's status.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// One running service.
///
/// # Theory of operation
///
/// One thread waits in `poll` for output of the service, its readiness notification, requests of peers, and signals. No
/// step blocks: pipes and sockets are non-blocking, and a log that cannot be written is skipped.
///
/// The phase only moves forward, and only when the kernel reports an exit:
///
/// ```text
/// Running --leader exited--> Exited --tree empty--> Finished
///    `------------ both at once ------------------^
/// ```
///
/// An open pipe does not prove that the service runs, because any descendant may hold it. `ECHILD` proves that the tree
/// is empty, because this process is the subreaper. All output from before an exit is in the log before the exit is
/// reported.
///
/// Every change of the record is written to its file and sent to the peers. The file is not synced: it has to survive
/// the death of any process, but not a crash of the machine, which ends the run as well. A record that cannot be
/// written is written to the fallback file, and the write is retried every second. The shim does not exit before the
/// last record is in one of the files or a peer is connected. The socket file is removed before the end is reported,
/// because a peer that receives the report may start the next run.
pub(crate) struct Supervisor {
    files: Files,
    record: RunRecord,
    /// Incremented with each change of the record.
    revision: u64,
    /// When to write the record; `None` while the file is up to date.
    save_due: Option<Instant>,
    /// Whether the latest record is in its file or in the fallback file.
    is_saved: bool,
    signals: SignalFd,
    output: Streams,
    shared_buffer: SharedBuffer,
    /// The descriptor of the shared buffer, for [`ShimRequest::ShareOutput`].
    memory: OwnedFd,
    log: LogWriter,
    control: Control,
    notify: Option<Notify>,
    /// When to report the service's status, and when it was last reported.
    status_due: Option<Instant>,
    status_sent: Option<Instant>,
    pending_signal: Option<PendingSignal>,
    kill_retry: Option<KillRetry>,
    /// Whether a peer has requested a signal to the service.
    stop_requested: bool,
    /// When to free the memory of a burst of output; `None` if there was no burst.
    shrink_due: Option<Instant>,
}

/// Everything between the service's output and its log.
pub(crate) struct Output {
    pub(crate) streams: Streams,
    pub(crate) shared_buffer: SharedBuffer,
    pub(crate) memory: OwnedFd,
}

/// A signal that the children have received and the rest of the tree has not.
struct PendingSignal {
    at: Instant,
    signal: Signal,
    signalled: HashSet<u32>,
}

/// A SIGKILL to the whole tree, repeated until the tree is empty.
struct KillRetry {
    at: Instant,
    pause: Duration,
}

/// The events of the loop.
#[derive(Clone, Copy)]
enum Source {
    Output,
    Notify,
    Listener,
    Peer(usize),
    Signals,
}

impl Supervisor {
    pub(crate) fn new(
        files: Files,
        record: RunRecord,
        signals: SignalFd,
        output: Output,
        log: LogWriter,
        control: Control,
        notify: Option<Notify>,
    ) -> Self {
        let Output { streams: output, shared_buffer, memory } = output;
        let (revision, save_due, is_saved, status_due, status_sent) = (0, None, false, None, None);
        let (pending_signal, kill_retry, shrink_due) = (None, None, None);
        Self {
            files,
            record,
            revision,
            save_due,
            is_saved,
            signals,
            output,
            shared_buffer,
            memory,
            log,
            control,
            notify,
            status_due,
            status_sent,
            pending_signal,
            kill_retry,
            stop_requested: false,
            shrink_due,
        }
    }

    /// Runs the event loop until no process of the service is left and the end is recorded.
    pub(crate) fn run(mut self) {
        self.changed();
        // A request that the daemon sent directly after the launch is already in the read buffer, so `poll` would not
        // report it.
        self.handle_requests(0);
        while !self.is_over() {
            self.control.broadcast(&self.record, self.revision);
            self.handle_events();
        }
        self.control.stop_listening();
        self.control.broadcast(&self.record, self.revision);
    }

    fn is_over(&self) -> bool {
        let is_known = self.is_saved || !self.control.has_no_peers();
        matches!(self.record.phase, Phase::Finished { .. }) && is_known
    }

    fn handle_events(&mut self) {
        let sources = self.wait();
        // Output that precedes an exit is read before the exit is handled.
        self.read_output();
        for source in sources {
            match source {
                Source::Output => {} // already read
                Source::Notify => self.read_notifications(),
                Source::Listener => self.control.accept(),
                Source::Peer(peer) => self.handle_requests(peer),
                Source::Signals => self.read_signals(),
            }
        }
        self.output.flush_partials_if_due(&self.shared_buffer, &mut self.log);
        self.log.flush(&self.shared_buffer);
        self.check_ready_line();
        self.publish_status_if_due();
        self.signal_rest_if_due(Instant::now());
        self.kill_if_due();
        self.save_if_due();
        self.shrink_if_due();
    }

    /// The sources that are ready besides the output; signals come last.
    fn wait(&self) -> Vec<Source> {
        let now = Instant::now();
        let mut sources = Vec::with_capacity(8);
        let mut fds = Vec::with_capacity(8);
        let mut watch = |source, fd| {
            sources.push(source);
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
        };
        if let Some(output) = self.output.watched(now) {
            watch(Source::Output, output);
        }
        if let Some(notify) = &self.notify {
            watch(Source::Notify, notify.as_fd());
        }
        self.control.peers().enumerate().for_each(|(peer, fd)| watch(Source::Peer(peer), fd));
        if let Some(listener) = self.control.listener(now) {
            watch(Source::Listener, listener);
        }
        watch(Source::Signals, self.signals.as_fd());

        let timeout = self.next_deadline(now).map(|at| TimeSpec::from(at.saturating_duration_since(now)));
        // `poll` fails only when a signal interrupts it. Then nothing is ready yet.
        let _ = ppoll(&mut fds, timeout, None);
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        sources.into_iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(source, _)| source).collect()
    }

    /// The next moment at which a deadline expires.
    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let output = self.output.next_due(now).into_iter();
        output
            .chain(self.save_due)
            .chain(self.status_due)
            .chain(self.control.next_due(now))
            .chain(self.shrink_due)
            .chain(self.pending_signal.as_ref().map(|pending_signal| pending_signal.at))
            .chain(self.kill_retry.as_ref().map(|kill_retry| kill_retry.at))
            .min()
    }

    fn read_output(&mut self) {
        if self.output.read(&self.shared_buffer, &mut self.log) == Used::Much {
            self.shrink_due = Some(Instant::now() + SHRINK_DELAY);
        }
    }

    fn handle_requests(&mut self, peer: usize) {
        for request in self.control.requests(peer) {
            match request {
                ShimRequest::Signal(number) => self.signal(number),
                ShimRequest::SignalFirst(number) => self.signal_first(number),
                ShimRequest::ShareOutput => self.share_output(peer),
            }
        }
    }

    fn share_output(&mut self, peer: usize) {
        let outputs = self.output.pumps().each_ref().map(Option::is_some);
        let pumps = self.output.pumps().iter().flatten().map(|pump| pump.as_fd().as_raw_fd());
        let fds: Vec<_> = std::iter::once(self.memory.as_raw_fd()).chain(pumps).collect();
        self.control.send_fds(peer, OrphanedOutput::stream_mask(outputs), &fds);
    }

    fn signal(&mut self, number: i32) {
        self.stop_requested = true;
        match Signal::try_from(number) {
            Ok(Signal::SIGKILL) => {
                self.kill_retry = Some(KillRetry { at: Instant::now(), pause: KILL_RETRY_DELAYS[0] });
            }
            Ok(signal) => self.signal_tree(signal),
            // The number is not a signal, so there is nothing to send.
            Err(_) => {}
        }
    }

    /// Signals the leader alone. After the leader's exit, the request means the rest of the tree.
    fn signal_first(&mut self, number: i32) {
        match (&self.record.phase, Signal::try_from(number)) {
            (Phase::Running { leader, .. }, Ok(signal)) => process_tree::send(leader.pid, signal),
            _ => self.signal(number),
        }
    }

    fn signal_tree(&mut self, signal: Signal) {
        // An earlier signal that is still pending is sent to the rest of the tree first.
        if let Some(earlier) = self.pending_signal.take() {
            process_tree::signal_all(earlier.signal, earlier.signalled);
        }
        self.pending_signal = Some(PendingSignal {
            at: Instant::now() + TREE_SIGNAL_DELAY,
            signal,
            signalled: process_tree::signal_children(signal),
        });
    }

    fn signal_rest_if_due(&mut self, now: Instant) {
        if let Some(PendingSignal { signal, signalled, .. }) =
            self.pending_signal.take_if(|pending_signal| pending_signal.at <= now)
        {
            process_tree::signal_all(signal, signalled);
        }
    }

    fn kill_if_due(&mut self) {
        let now = Instant::now();
        if let Some(kill_retry) = self.kill_retry.as_mut().filter(|kill_retry| kill_retry.at <= now) {
            process_tree::signal_all(Signal::SIGKILL, HashSet::new());
            kill_retry.at = now + kill_retry.pause;
            kill_retry.pause = (kill_retry.pause * 2).min(KILL_RETRY_DELAYS[1]);
        }
    }

    /// Frees the memory of a burst of output.
    fn shrink_if_due(&mut self) {
        if self.shrink_due.is_some_and(|at| at <= Instant::now()) {
            self.shrink_due = None;
            SharedBuffer::shrink(&self.memory);
            self.log.shrink();
            self.output.shrink();
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGTERM)) => self.signal(nix::libc::SIGTERM),
                Ok(Ok(Signal::SIGCHLD)) => self.reap(),
                Ok(Ok(Signal::SIGHUP)) => self.renew_files(),
                // Ctrl-C in a terminal must not stop a service.
                _ => {}
            }
        }
    }

    /// A daemon that cannot find this shim by its files sends SIGHUP. A closing terminal sends SIGHUP as well; renewing
    /// the files is harmless then.
    fn renew_files(&mut self) {
        self.files.resolve();
        self.control.renew(&self.files);
        self.save();
    }

    fn reap(&mut self) {
        // When many services are stopped together, the other shims pass on their signals first.
        std::thread::yield_now();
        if let Some(kill_retry) = &mut self.kill_retry {
            *kill_retry = KillRetry { at: Instant::now(), pause: KILL_RETRY_DELAYS[0] };
        }
        let mut ended = None;
        loop {
            match process_tree::reap() {
                Reaped::Ended(pid, exit) if self.is_leader(pid) => ended = Some((exit, process::boot_time())),
                Reaped::Ended(..) => {}
                Reaped::NoneYet => return self.leader_ended(ended),
                Reaped::NoneLeft => return self.tree_ended(ended),
            }
        }
    }

    fn is_leader(&self, pid: u32) -> bool {
        matches!(self.record.phase, Phase::Running { leader, .. } if leader.pid == pid)
    }

    fn leader_ended(&mut self, ended: Option<(Exit, u64)>) {
        if let (Phase::Running { leader, .. }, Some((exit, at))) = (&self.record.phase, ended) {
            let phase = Phase::Exited { leader: *leader, exit, at };
            self.output.drain(&self.shared_buffer, &mut self.log);
            self.check_ready_line();
            if !self.stop_requested {
                self.record.leftover = process_tree::leftover();
            }
            self.enter(phase);
        }
    }

    fn tree_ended(&mut self, ended: Option<(Exit, u64)>) {
        let (exit, at) = match (&self.record.phase, ended) {
            (Phase::Running { .. }, Some(ended)) => ended,
            (Phase::Exited { exit, at, .. }, _) => (*exit, *at),
            (
                Phase::Launching { .. }
                | Phase::Running { .. }
                | Phase::Finished { .. }
                | Phase::LaunchFailed { .. },
                _,
            ) => return,
        };
        self.output.drain(&self.shared_buffer, &mut self.log);
        self.output.finish(&self.shared_buffer, &mut self.log);
        self.log.flush(&self.shared_buffer);
        self.check_ready_line();
        (self.pending_signal, self.kill_retry) = (None, None);
        self.enter(Phase::Finished { exit, at });
    }

    fn enter(&mut self, phase: Phase) {
        self.record.phase = phase;
        self.changed();
    }

    fn check_ready_line(&mut self) {
        if self.log.is_ready() && !self.record.notified {
            self.record.notified = true;
            self.changed();
        }
    }

    fn read_notifications(&mut self) {
        let Notification { ready, status, extended_to } =
            self.notify.as_ref().map(Notify::receive_all).unwrap_or_default();
        let notify_status = &mut self.record.notify_status;
        let before = notify_status.clone();
        notify_status.status = status
            .map_or(notify_status.status.take(), |status| Some(status).filter(|status| !status.is_empty()));
        notify_status.extended_to = extended_to.or(notify_status.extended_to);
        if *notify_status != before && self.status_due.is_none() {
            // A service may send its status as often as it likes.
            let now = Instant::now();
            self.status_due = Some(self.status_sent.map_or(now, |last| now.max(last + STATUS_INTERVAL)));
        }
        if ready && !self.record.notified {
            self.record.notified = true;
            self.changed();
        }
    }

    fn publish_status_if_due(&mut self) {
        let now = Instant::now();
        if self.status_due.is_some_and(|at| at <= now) {
            (self.status_due, self.status_sent) = (None, Some(now));
            self.changed();
        }
    }

    /// Must be called after each change of the record.
    fn changed(&mut self) {
        self.revision += 1;
        self.save();
    }

    fn save_if_due(&mut self) {
        let now = Instant::now();
        if self.save_due.is_none() && self.record.dropped_lines() != self.log.dropped_lines() {
            self.save_due = Some(now + SAVE_RETRY_DELAY);
        }
        if self.save_due.is_some_and(|at| at <= now) {
            self.save();
        }
    }

    fn save(&mut self) {
        if self.record.dropped_lines() != self.log.dropped_lines() {
            let DroppedLines { total, unreported } = self.log.dropped_lines();
            (self.record.dropped, self.record.unreported) = (total, unreported);
            self.revision += 1;
        }
        (self.save_due, self.is_saved) = match self.files.write_record(&self.record) {
            Ok(()) => (None, true),
            Err(error) => {
                let has_fallback = self.files.write_fallback_record(&self.record).is_ok();
                // The run directory was deleted, for example with the session. It is written again at SIGHUP.
                let is_gone = error.kind() == io::ErrorKind::NotFound;
                ((!is_gone).then(|| Instant::now() + SAVE_RETRY_DELAY), is_gone || has_fallback)
            }
        };
    }
}
