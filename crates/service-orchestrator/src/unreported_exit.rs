//! Exits that a frozen shim has not reported. A start must not be answered with the state before such an exit.

use crate::ServiceOrchestrator;
use crate::request::{Request, Verb};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_core::Name;
use service_host::procfs;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// The time limit for a continued shim to report an exit.
const REPORT_TIMEOUT: Duration = Duration::from_millis(500);
/// The number of processes inspected before other tasks run.
const BATCH_COUNT: usize = 64;

impl ServiceOrchestrator {
    /// Continues the shims of services whose process has ended, and waits for their reports. Only a start needs this: its
    /// answer depends on a service that runs already.
    pub(crate) async fn await_unreported_exits(&self, request: &Request) {
        if request.verb != Verb::Start {
            return;
        }
        let snapshot = self.fleet_snapshot();
        let is_concerned = |name: &str| request.all || request.names.iter().any(|named| named == name);
        let concerned = snapshot.entries.iter().filter(|entry| is_concerned(&entry.definition.name));
        let mut ended = BTreeMap::new();
        for (number, entry) in concerned.enumerate() {
            if (number + 1).is_multiple_of(BATCH_COUNT) {
                tokio::task::yield_now().await;
            }
            if let (Some(pid), Some(shim)) = (entry.pid, entry.shim)
                && procfs::has_ended(pid)
            {
                let _ = kill(Pid::from_raw(shim.cast_signed()), Signal::SIGCONT);
                ended.insert(entry.definition.name.clone(), pid);
            }
        }
        if ended.is_empty() {
            return;
        }
        let mut fleet = self.fleet.clone();
        let reported = fleet.wait_for(|snapshot| {
            let is_old = |(name, pid): (&Name, &u32)| {
                snapshot.entry(name).is_some_and(|entry| entry.pid == Some(*pid))
            };
            !ended.iter().any(is_old)
        });
        // Without a report in time, the state before the exit counts.
        let _ = timeout(REPORT_TIMEOUT, reported).await;
    }
}
