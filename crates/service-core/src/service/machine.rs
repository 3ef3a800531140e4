//! [`Machine`]: the state machine of one service. It returns effects and does not perform them.
//!
//! ```text
//!           Unblocked, goal up            Launched           ready
//!  Stopped ------------------> Launching ----------> Starting ----> Ready
//!     ^                            |                    |             |
//!     | due        LaunchFailed    v     goal down, start timeout,    | ended by itself:
//!  Backoff <---- Failed <----------+     unhealthy, leftover process  | the restart policy
//!     ^                                         |                     v
//!     +-----------------------------------  Stopping  ---> Stopped, Completed, Backoff, Failed
//! ```
//!
//! Every run has a number. Each event has the number of its run, and the [`Fleet`](crate::Fleet) drops events of other
//! runs, so that a late event of an old process has no effect. At [`Machine::deadline`] or later, the caller must send
//! an [`Event::TimerElapsed`].

mod ended;
mod external;
mod probing;
mod restart_policy;
mod stopping;

use super::restart::RestartHistory;
use crate::config::{KillMode, Manager, OnFailure, Readiness, Restart, Service};
use crate::health::{self, Health, ProbeResult, Tracker};
use crate::service::event::{Discovered, Effect, Event};
use crate::service::persisted::{PersistedState, StartedBy};
use crate::service::state::{Cause, Failure, Goal, State};
use crate::time::Moment;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// The schedule of the checks of a run. At most one check is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probing {
    /// No check is scheduled.
    Off,
    /// A check was requested.
    InFlight,
    /// A check was requested, and its result will be ignored, because the definition or the state has changed since.
    Stale,
    /// The next check is due at this moment.
    Due(Moment),
}

/// One service.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The definition of the present run; without a run, of the next one.
    definition: Arc<Service>,
    memory: PersistedState,
    probing: Probing,
}

impl Machine {
    /// An inactive service.
    pub fn new(definition: Arc<Service>) -> Self {
        let mut machine = Self { definition, memory: PersistedState::default(), probing: Probing::Off };
        machine.schedule_presence_check(Moment::default());
        machine
    }

    /// The state that outlives the daemon.
    pub fn memory(&self) -> &PersistedState {
        &self.memory
    }

    /// The definition of the present run; without a run, of the next one.
    pub fn definition(&self) -> &Arc<Service> {
        &self.definition
    }

    /// The goal.
    pub fn goal(&self) -> Goal {
        self.memory.goal
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.memory.state
    }

    /// Number of the last run.
    pub fn run(&self) -> u64 {
        self.memory.run
    }

    /// The health.
    pub fn health(&self) -> Health {
        use State::{Backoff, Completed, Failed, Launching, Ready, Starting, Stopped, Stopping, Unknown};
        match self.memory.state {
            Launching { .. } | Starting { .. } => Health::Pending,
            Ready { .. } | Stopping { .. } => self.memory.tracker.health(),
            Stopped | Backoff { .. } | Completed { .. } | Failed { .. } | Unknown { .. } => Health::None,
        }
    }

    /// The number of consecutive failed checks.
    pub fn failures(&self) -> u32 {
        self.memory.tracker.failures()
    }

    /// Sets a changed definition, unless the service runs. A run keeps its definition.
    pub fn redefine(&mut self, definition: &Arc<Service>) {
        if !self.memory.state.is_alive() {
            self.definition = Arc::clone(definition);
            self.redefined_at_rest();
        }
    }

    /// Sets the definition with which another daemon started the present run.
    pub fn set_running_definition(&mut self, definition: Arc<Service>) {
        self.definition = definition;
    }

    /// Prevents another start after the present run, by the policy or by a pending restart.
    pub fn decommission(&mut self) {
        if self.memory.goal == Goal::Restart {
            self.memory.goal = Goal::Down;
        }
        Arc::make_mut(&mut self.definition).restart = Restart::No;
    }

    /// Restores the state of a former daemon, reconciled with the findings. Returns the effects that are due. If the
    /// run has ended unobserved, the caller sends its end as an event.
    pub fn restore(&mut self, memory: PersistedState, found: &Discovered, now: Moment) -> Vec<Effect> {
        self.memory = memory;
        self.memory.reconcile(found, now);
        self.probing = Probing::Off;
        match self.memory.state {
            State::Stopping { .. } => return vec![Effect::Terminate],
            State::Starting { .. } if self.definition.readiness() == Readiness::Notify => {
                return vec![Effect::WatchReadiness];
            }
            // The former health counts until the next check, which is due at once.
            State::Ready { .. } if self.definition.is_probed() && self.health() != Health::None => {
                self.probing = Probing::Due(now);
            }
            State::Ready { .. } => self.watch(now),
            State::Starting { .. } if self.definition.has_startup_probe() => {
                self.probing = Probing::Due(now);
            }
            State::Launching { .. } | State::Starting { .. } | State::Unknown { .. } => {}
            State::Stopped | State::Backoff { .. } | State::Completed { .. } | State::Failed { .. } => {
                self.schedule_presence_check(now);
            }
        }
        Vec::new()
    }

    /// When an [`Event::TimerElapsed`] is due.
    pub fn deadline(&self) -> Option<Moment> {
        let own = match &self.memory.state {
            State::Launching { since } => self.launch_timeout(*since),
            State::Starting { since } => self.start_deadline(*since),
            State::Stopping { kill_at, .. } => Some(*kill_at),
            State::Backoff { until, .. } => Some(*until),
            State::Stopped
            | State::Ready { .. }
            | State::Completed { .. }
            | State::Failed { .. }
            | State::Unknown { .. } => None,
        };
        let probe = match self.probing {
            Probing::Due(at) if self.memory.state.is_active() || self.memory.state.is_inactive() => Some(at),
            _ => None,
        };
        own.into_iter().chain(probe).min()
    }

    /// When a running start is given up.
    pub fn start_ends(&self) -> Option<Moment> {
        let State::Starting { since } = self.memory.state else { return None };
        self.start_timeout(since)
    }

    fn start_timeout(&self, since: Moment) -> Option<Moment> {
        // An external run has no start timeout, because it is not stopped.
        let timeout =
            self.definition.start_timeout().filter(|_| self.memory.starter == StartedBy::Orchestrator);
        timeout.map(|timeout| since.plus(timeout)).max(timeout.and(self.memory.extended_to))
    }

    /// When a launch times out. A launch by a shim has no limit, because it may wait in a queue. The start call of a
    /// manager is part of the start.
    fn launch_timeout(&self, since: Moment) -> Option<Moment> {
        self.start_timeout(since).filter(|_| self.definition.manager != Manager::Process)
    }

    /// When the start succeeds or times out without a further event.
    fn start_deadline(&self, since: Moment) -> Option<Moment> {
        match self.definition.readiness() {
            Readiness::Delay(delay) => Some(since.plus(delay)),
            Readiness::Exit | Readiness::Notify | Readiness::Probe => self.start_timeout(since),
        }
    }

    /// Sets the goal. The goals down and restart also apply to an external run. The goal up clears the crashes of a
    /// service that is inactive or has just failed; the goal restart clears the crashes of any service. A goal up does
    /// not cancel a pending restart. A service in an unknown state keeps its goal, because it can neither be started
    /// nor stopped.
    pub fn set_goal(&mut self, goal: Goal) {
        if let State::Unknown { .. } = self.memory.state {
            return;
        }
        let at_rest = !self.memory.state.is_alive();
        let goal = match (self.memory.goal, goal) {
            (Goal::Restart, Goal::Up) => Goal::Restart,
            _ => goal,
        };
        self.memory.goal = if at_rest && goal == Goal::Restart { Goal::Up } else { goal };
        if goal != Goal::Up {
            self.memory.starter = StartedBy::Orchestrator;
        }
        match &mut self.memory.state {
            State::Stopping { cause, .. } => *cause = Cause::Requested,
            _ if at_rest => self.memory.state = State::Stopped,
            _ if goal == Goal::Restart => {}
            _ => return,
        }
        if goal != Goal::Down {
            self.memory.backoff = RestartHistory::default();
            self.memory.restarts = 0;
        }
    }

    /// The effects of an event. `jitter` is a random number.
    pub fn step(&mut self, event: Event, now: Moment, jitter: u32) -> Vec<Effect> {
        match (self.memory.state.clone(), event) {
            (State::Stopped, Event::Unblocked) => self.launch(now),
            (State::Launching { .. } | State::Starting { .. } | State::Ready { .. }, Event::Unblocked) => {
                self.stop(Cause::Requested, now)
            }
            (State::Launching { since }, Event::Launched) => self.launched(since),
            (State::Launching { .. }, Event::Begun(at)) => self.launched(at),
            (State::Launching { .. } | State::Starting { .. }, Event::LaunchFailed(why)) => {
                self.rest_after(&Cause::Failure(Failure::LaunchFailed(why)), None, now, jitter)
            }
            (State::Stopping { .. }, Event::LaunchFailed(_)) => {
                self.rest_after(&Cause::Requested, None, now, jitter)
            }
            (State::Starting { .. } | State::Ready { .. }, Event::Probed(_))
                if self.probing == Probing::Stale =>
            {
                self.probing = self.next_check(now);
                Vec::new()
            }
            (State::Starting { since }, Event::ReadyNotified) => self.ready(since, now),
            (State::Starting { .. }, Event::PortOpened) => self.probe_now(),
            (State::Starting { .. }, Event::Extended(to)) => {
                self.memory.extended_to = Some(to);
                Vec::new()
            }
            (State::Stopping { since, cause, was_ready, kills: 0, .. }, Event::Extended(to)) => {
                let kill_at = since.plus(self.definition.stop_timeout).max(to);
                self.memory.state = State::Stopping { since, cause, was_ready, kill_at, kills: 0 };
                Vec::new()
            }
            (State::Starting { since }, Event::Probed(verdict)) => {
                self.probed_while_starting(since, verdict, now)
            }
            (State::Ready { launched, .. }, Event::Probed(verdict)) => self.probed(launched, verdict, now),
            (State::Launching { .. } | State::Starting { .. } | State::Ready { .. }, Event::Exited(exit)) => {
                self.memory.ended_with(exit);
                self.stop(Cause::Failure(Failure::Exited(exit)), now)
            }
            (State::Stopping { .. }, Event::Exited(exit)) => {
                self.memory.ended_with(exit);
                match self.definition.kill_mode {
                    KillMode::Tree => Vec::new(),
                    KillMode::Main => vec![Effect::Kill],
                }
            }
            (
                state @ (State::Launching { .. } | State::Starting { .. } | State::Ready { .. }),
                Event::TreeExited(exit),
            ) => {
                self.memory.ended_with(exit);
                self.rest_after(&Cause::Failure(Failure::Exited(exit)), state.ready(), now, jitter)
            }
            (State::Stopping { cause, was_ready, .. }, Event::TreeExited(exit)) => {
                self.memory.ended_with(exit);
                self.rest_after(&cause, was_ready, now, jitter)
            }
            (
                State::Stopped | State::Completed { .. } | State::Failed { .. },
                Event::PresenceChecked(presence),
            ) => self.handle_presence(presence, now),
            (state, Event::TimerElapsed) => self.handle_timeouts(state, now),
            // These events are too late for their state.
            (
                _,
                Event::Unblocked
                | Event::Launched
                | Event::Begun(_)
                | Event::LaunchFailed(_)
                | Event::Probed(_)
                | Event::ReadyNotified
                | Event::PresenceChecked(_)
                | Event::PortOpened
                | Event::Extended(_),
            )
            | (
                State::Stopped
                | State::Backoff { .. }
                | State::Completed { .. }
                | State::Failed { .. }
                | State::Unknown { .. },
                Event::Exited(_) | Event::TreeExited(_),
            ) => Vec::new(),
        }
    }

    fn launch(&mut self, now: Moment) -> Vec<Effect> {
        self.memory.run += 1;
        self.memory.state = State::Launching { since: now };
        self.memory.tracker = Tracker::pending();
        self.memory.starter = StartedBy::Orchestrator;
        self.memory.extended_to = None;
        self.memory.launched = Some(now);
        self.probing = Probing::Off;
        vec![Effect::Spawn]
    }

    fn launched(&mut self, since: Moment) -> Vec<Effect> {
        self.memory.state = State::Starting { since };
        match self.definition.readiness() {
            _ if self.definition.has_startup_probe() => self.probe(),
            Readiness::Notify => vec![Effect::WatchReadiness],
            Readiness::Probe | Readiness::Delay(_) | Readiness::Exit => Vec::new(),
        }
    }

    fn ready(&mut self, launched: Moment, now: Moment) -> Vec<Effect> {
        self.memory.state = State::Ready { launched, since: now };
        self.watch(now);
        Vec::new()
    }

    fn probed_while_starting(&mut self, since: Moment, verdict: ProbeResult, now: Moment) -> Vec<Effect> {
        match verdict {
            ProbeResult::Success if !self.definition.oneshot => {
                self.memory.tracker = Tracker::healthy();
                self.ready(since, now)
            }
            ProbeResult::Success | ProbeResult::Failure | ProbeResult::ConfirmedFailure => {
                self.probing = Probing::Due(health::next_startup_probe(since, now));
                Vec::new()
            }
            ProbeResult::Unknown => {
                let effects = self.ready(since, now);
                self.probing = Probing::Due(now.plus(self.definition.health.interval));
                effects
            }
        }
    }

    fn probed(&mut self, launched: Moment, verdict: ProbeResult, now: Moment) -> Vec<Effect> {
        self.memory.tracker.count(verdict, &self.definition.health, now.since(launched));
        let dense = self.memory.tracker.health() == Health::Pending && verdict == ProbeResult::Failure;
        self.probing = Probing::Due(if dense {
            health::next_startup_probe(launched, now)
        } else {
            now.plus(self.definition.health.interval)
        });
        match (self.memory.tracker.health(), self.definition.health.on_failure) {
            (Health::Unhealthy, OnFailure::Restart) if !self.is_unmanaged() => {
                self.stop(Cause::Failure(Failure::Unhealthy), now)
            }
            _ => Vec::new(),
        }
    }

    fn handle_timeouts(&mut self, state: State, now: Moment) -> Vec<Effect> {
        match state {
            State::Launching { since } if self.launch_timeout(since).is_some_and(|due| now >= due) => {
                self.stop(Cause::Failure(Failure::StartTimeout), now)
            }
            State::Starting { since } if self.start_deadline(since).is_some_and(|due| now >= due) => {
                match self.definition.readiness() {
                    Readiness::Delay(_) => self.ready(since, now),
                    _ => self.stop(Cause::Failure(Failure::StartTimeout), now),
                }
            }
            State::Stopping { since, cause, was_ready, kill_at, kills } if now >= kill_at => {
                self.kill(since, cause, was_ready, kills, now)
            }
            State::Backoff { until, .. } if now >= until => {
                self.memory.state = State::Stopped;
                Vec::new()
            }
            State::Starting { .. } | State::Ready { .. } => match self.probing {
                Probing::Due(at) if now >= at => self.probe(),
                _ => Vec::new(),
            },
            State::Stopped | State::Completed { .. } | State::Failed { .. } => self.check_presence(now),
            _ => Vec::new(),
        }
    }
}
