//! [`Keeper`]: the loop that keeps one running service, from its start to the end of its last process.

mod hearing;
pub(crate) mod streams;

use crate::control::Control;
use crate::notify::Notify;
use crate::tree::{self, Reaped};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeSpec;
use service_shim::desk::Desk;
use service_shim::log::Log;
use service_shim::{Exit, Files, Heritage, Missing, Order, Phase, Record, process};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use streams::{Streams, Used};

/// How long until a record that could not be written is written again, and how often drops are told.
const SAVE_AGAIN: Duration = Duration::from_secs(1);
/// How soon a tree that is being killed is looked at again; doubled up to the second as long as nobody dies.
const KILL_AGAIN: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];
/// How long after its first process the rest of a tree gets a signal. Most often there is no rest by then, and to look for one
/// takes longer than everything else about a signal.
const SPREAD: Duration = Duration::from_millis(2);
/// How long the output must have been quiet before memory is given back.
const QUIET: Duration = Duration::from_secs(1);

/// One running service.
///
/// # Theory of operation
///
/// One thread waits in `poll` for the service's output, its word that it is ready, the peers, and signals. Nothing it
/// does can block: pipes and sockets are not waited for, and a log that cannot be written is not insisted on.
///
/// The phase only moves forward, and only when the kernel says that a process ended:
///
/// ```text
/// Running --leader ended--> Exited --tree empty--> Gone
///    `------------ both at once ----------------^
/// ```
///
/// A pipe that is still open says nothing about this, as any grandchild may hold it; no children left (`ECHILD`) says
/// all of it, as this process is the subreaper. Before an end is told, all output from before it is in the log.
///
/// Every change of the record is written to its file and told to the peers. The file is not synced: it has to
/// survive the death of any process, not that of the machine, with which the run has ended anyway. When the file
/// cannot be written, that is tried again each second, and the end of a run is held until it is written or someone
/// has come to hear it. The control socket's file goes before the end is told: who hears it may start the next run.
pub(crate) struct Keeper {
    files: Files,
    record: Record,
    /// Counts the changes of the record.
    edition: u64,
    /// When to write the record; `None` if the file is up to date.
    save_at: Option<Instant>,
    signals: SignalFd,
    output: Streams,
    desk: Desk,
    /// The desk's descriptor, to be lent.
    memory: OwnedFd,
    log: Log,
    control: Control,
    notify: Option<Notify>,
    /// When to tell what the service has said of itself, and when that was done last.
    say_at: Option<Instant>,
    said_last: Option<Instant>,
    spreading: Option<Spreading>,
    killing: Option<Killing>,
    /// Whether somebody has asked it to end.
    asked: bool,
    /// When to give back memory that a burst of output took; `None` if none did.
    shrink_at: Option<Instant>,
}

/// The way of the service's output, up to the log.
pub(crate) struct Output {
    pub(crate) streams: Streams,
    pub(crate) desk: Desk,
    pub(crate) memory: OwnedFd,
}

/// A signal that some of the tree have.
struct Spreading {
    at: Instant,
    signal: Signal,
    told: HashSet<u32>,
}

/// The tree is to be killed, however often that takes.
struct Killing {
    at: Instant,
    pause: Duration,
}

/// What can wake the loop.
#[derive(Clone, Copy)]
enum Source {
    Output,
    Notify,
    Listener,
    Peer(usize),
    Signals,
}

impl Keeper {
    pub(crate) fn new(
        files: Files,
        record: Record,
        signals: SignalFd,
        output: Output,
        log: Log,
        control: Control,
        notify: Option<Notify>,
    ) -> Self {
        let Output { streams: output, desk, memory } = output;
        let (edition, save_at, say_at, said_last) = (0, None, None, None);
        let (spreading, killing, shrink_at) = (None, None, None);
        Self {
            files,
            record,
            edition,
            save_at,
            signals,
            output,
            desk,
            memory,
            log,
            control,
            notify,
            say_at,
            said_last,
            spreading,
            killing,
            asked: false,
            shrink_at,
        }
    }

    /// Returns when nothing is left of the service and that is known.
    pub(crate) fn run(mut self) {
        self.changed();
        // The daemon may have sent an order right behind the launch; nothing more would come to wake us for it.
        self.hear_peer(0);
        while !self.is_over() {
            self.control.tell(&self.record, self.edition);
            self.turn();
        }
        self.control.stop_listening();
        self.control.tell(&self.record, self.edition);
    }

    fn is_over(&self) -> bool {
        let is_known = self.save_at.is_none() || !self.control.is_alone();
        matches!(self.record.phase, Phase::Gone { .. }) && is_known
    }

    fn turn(&mut self) {
        let sources = self.wait();
        // What happened before an end is dealt with before the end.
        self.read_output();
        for source in sources {
            match source {
                Source::Output => {} // read already
                Source::Notify => self.hear_service(),
                Source::Listener => self.control.accept(),
                Source::Peer(peer) => self.hear_peer(peer),
                Source::Signals => self.read_signals(),
            }
        }
        self.output.show_if_due(&self.desk, &mut self.log);
        self.log.flush(&self.desk);
        self.hear_log();
        self.say_if_due();
        self.spread(Instant::now());
        self.kill_if_due();
        self.save_if_due();
        self.shrink_if_due();
    }

    /// What there is to do besides the output, signals last.
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

        let timeout = self.next_moment(now).map(|at| TimeSpec::from(at.saturating_duration_since(now)));
        // It fails only by being interrupted. Then there is nothing yet, which is also what it says.
        let _ = ppoll(&mut fds, timeout, None);
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        sources.into_iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(source, _)| source).collect()
    }

    /// The next moment at which something is due.
    fn next_moment(&self, now: Instant) -> Option<Instant> {
        let output = self.output.due(now).into_iter();
        output
            .chain(self.save_at)
            .chain(self.say_at)
            .chain(self.control.due(now))
            .chain(self.shrink_at)
            .chain(self.spreading.as_ref().map(|spreading| spreading.at))
            .chain(self.killing.as_ref().map(|killing| killing.at))
            .min()
    }

    fn read_output(&mut self) {
        if self.output.read(&self.desk, &mut self.log) == Used::Much {
            self.shrink_at = Some(Instant::now() + QUIET);
        }
    }

    fn hear_peer(&mut self, peer: usize) {
        for order in self.control.orders(peer) {
            match order {
                Order::Signal(number) => self.signal(number),
                Order::SignalFirst(number) => self.signal_first(number),
                Order::Lend => self.lend(peer),
            }
        }
    }

    fn lend(&mut self, peer: usize) {
        let outputs = self.output.pumps().each_ref().map(Option::is_some);
        let pumps = self.output.pumps().iter().flatten().map(|pump| pump.as_fd().as_raw_fd());
        let fds: Vec<_> = std::iter::once(self.memory.as_raw_fd()).chain(pumps).collect();
        self.control.lend(peer, Heritage::label(outputs), &fds);
    }

    fn signal(&mut self, number: i32) {
        self.asked = true;
        match Signal::try_from(number) {
            Ok(Signal::SIGKILL) => self.killing = Some(Killing { at: Instant::now(), pause: KILL_AGAIN[0] }),
            Ok(signal) => self.spread_from_children(signal),
            // There is no such signal, so there is nobody whom it could reach.
            Err(_) => {}
        }
    }

    /// The first process alone. When that has ended, there is nobody else who could be meant but the rest.
    fn signal_first(&mut self, number: i32) {
        match (&self.record.phase, Signal::try_from(number)) {
            (Phase::Running { leader, .. }, Ok(signal)) => tree::send(leader.pid, signal),
            _ => self.signal(number),
        }
    }

    fn spread_from_children(&mut self, signal: Signal) {
        // One that has not reached everybody does so first.
        if let Some(earlier) = self.spreading.take() {
            tree::signal_all(earlier.signal, earlier.told);
        }
        self.spreading =
            Some(Spreading { at: Instant::now() + SPREAD, signal, told: tree::signal_children(signal) });
    }

    fn spread(&mut self, now: Instant) {
        if let Some(Spreading { signal, told, .. }) = self.spreading.take_if(|spreading| spreading.at <= now)
        {
            tree::signal_all(signal, told);
        }
    }

    fn kill_if_due(&mut self) {
        let now = Instant::now();
        if let Some(killing) = self.killing.as_mut().filter(|killing| killing.at <= now) {
            tree::signal_all(Signal::SIGKILL, HashSet::new());
            killing.at = now + killing.pause;
            killing.pause = (killing.pause * 2).min(KILL_AGAIN[1]);
        }
    }

    /// A service that has said much and is silent now needs no more memory than one that never did.
    fn shrink_if_due(&mut self) {
        if self.shrink_at.is_some_and(|at| at <= Instant::now()) {
            self.shrink_at = None;
            Desk::shrink(&self.memory);
            self.log.shrink();
            self.output.narrow();
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGTERM)) => self.signal(nix::libc::SIGTERM),
                Ok(Ok(Signal::SIGCHLD)) => self.reap(),
                Ok(Ok(Signal::SIGHUP)) => self.come_back(),
                // Ctrl-c in a terminal is no concern of a service.
                _ => {}
            }
        }
    }

    /// Somebody cannot find us by our files. A terminal that goes away says the same, and does no harm with it.
    fn come_back(&mut self) {
        self.control.renew(&self.files);
        self.save();
    }

    fn reap(&mut self) {
        // When many services end at once, what comes after an end is done when all have heard that they are to end.
        std::thread::yield_now();
        if let Some(killing) = &mut self.killing {
            *killing = Killing { at: Instant::now(), pause: KILL_AGAIN[0] };
        }
        let mut ended = None;
        loop {
            match tree::reap() {
                Reaped::Ended(pid, exit) if self.leads(pid) => ended = Some((exit, process::boot_time())),
                Reaped::Ended(..) => {}
                Reaped::NoneYet => return self.leader_ended(ended),
                Reaped::NoneLeft => return self.tree_ended(ended),
            }
        }
    }

    fn leads(&self, pid: u32) -> bool {
        matches!(self.record.phase, Phase::Running { leader, .. } if leader.pid == pid)
    }

    fn leader_ended(&mut self, ended: Option<(Exit, u64)>) {
        if let (Phase::Running { leader, .. }, Some((exit, at))) = (&self.record.phase, ended) {
            let phase = Phase::Exited { leader: *leader, exit, at };
            self.output.empty(&self.desk, &mut self.log);
            self.hear_log();
            if !self.asked {
                self.record.left = tree::left();
            }
            self.enter(phase);
        }
    }

    fn tree_ended(&mut self, ended: Option<(Exit, u64)>) {
        let (exit, at) = match (&self.record.phase, ended) {
            (Phase::Running { .. }, Some(ended)) => ended,
            (Phase::Exited { exit, at, .. }, _) => (*exit, *at),
            (
                Phase::Launching { .. } | Phase::Running { .. } | Phase::Gone { .. } | Phase::Refused { .. },
                _,
            ) => return,
        };
        self.output.empty(&self.desk, &mut self.log);
        self.output.finish(&self.desk, &mut self.log);
        self.log.flush(&self.desk);
        self.hear_log();
        (self.spreading, self.killing) = (None, None);
        self.enter(Phase::Gone { exit, at });
    }

    fn enter(&mut self, phase: Phase) {
        self.record.phase = phase;
        self.changed();
    }

    /// To be called after each change of the record.
    fn changed(&mut self) {
        self.edition += 1;
        self.save();
    }

    fn save_if_due(&mut self) {
        let now = Instant::now();
        if self.save_at.is_none() && self.record.missing() != self.log.lost() {
            self.save_at = Some(now + SAVE_AGAIN);
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save();
        }
    }

    fn save(&mut self) {
        if self.record.missing() != self.log.lost() {
            let Missing { lines, untold } = self.log.lost();
            (self.record.dropped, self.record.untold) = (lines, untold);
            self.edition += 1;
        }
        self.save_at = match self.files.write_record(&self.record) {
            Ok(()) => None,
            // The directory was deleted: nobody will look for a record there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(Instant::now() + SAVE_AGAIN),
        };
    }
}
