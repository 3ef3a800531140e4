//! [`Polls`]: groups of services that are queried together: services of one module and one interval.

use service_core::config::Service;
use service_core::{Moment, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The groups by module and interval. The lock is held only for a lookup.
#[derive(Default)]
pub(super) struct Polls(Mutex<BTreeMap<(PathBuf, Duration), PollGroup>>);

#[derive(Default)]
struct PollGroup {
    members: BTreeMap<Name, PolledService>,
    /// The services that are queried alone.
    polled_alone: BTreeSet<Name>,
    /// Whether a task supervises the group.
    attended: bool,
}

#[derive(Clone)]
pub(super) struct PolledService {
    pub(super) service: Arc<Service>,
    pub(super) run: u64,
    pub(super) reason: Reason,
    pub(super) is_requested: bool,
    /// The time of the last query or request.
    pub(super) asked: Moment,
}

/// The purpose of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The status of a run.
    Run,
    /// The presence of an inactive service.
    Rest,
}

impl Polls {
    /// Adds a request. Returns whether the group lacks a supervisor.
    pub(super) fn join(&self, key: &(PathBuf, Duration), member: PolledService) -> bool {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.entry(key.clone()).or_default();
        pool.members.insert(member.service.name.clone(), member);
        !std::mem::replace(&mut pool.attended, true)
    }

    /// Queries this service alone from now on.
    pub(super) fn poll_alone(&self, key: &(PathBuf, Duration), name: &Name) {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get_mut(key) {
            pool.members.remove(name);
            pool.polled_alone.insert(name.clone());
        }
    }

    pub(super) fn poll_together(&self, key: &(PathBuf, Duration), name: &Name) {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.get_mut(key).map(|pool| pool.polled_alone.remove(name));
    }

    pub(super) fn is_polled_alone(&self, key: &(PathBuf, Duration), name: &Name) -> bool {
        let pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.get(key).is_some_and(|pool| pool.polled_alone.contains(name))
    }

    /// The services that are due. If no query waits, the supervision ends.
    pub(super) fn next(&self, key: &(PathBuf, Duration), now: Moment) -> Vec<PolledService> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pool) = pools.get_mut(key) else { return Vec::new() };
        let interval = key.1;
        if !pool.members.values().any(|member| member.is_requested) {
            pool.attended = false;
            return Vec::new();
        }
        // A service without a request for two intervals is not queried any more.
        pool.members.retain(|_, member| member.is_requested || now.since(member.asked) < 2 * interval);
        let due = |member: &PolledService| member.is_requested || now.since(member.asked) >= interval / 2;
        let batch: Vec<PolledService> = pool.members.values().filter(|member| due(member)).cloned().collect();
        pool.members.values_mut().for_each(|member| member.is_requested = false);
        batch
    }
}
