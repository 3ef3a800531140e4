//! Checks a service: by its endpoint, by its manager, or by the existence of its process.

use super::drivers::Drivers;
use crate::snapshot::ServiceSnapshot;
use service_core::Moment;
use service_core::config::{Service, Settings};
use service_core::health::ProbeResult;
use service_core::service::{Event, State};
use service_host::clock;
use service_host::report::{CheckResult, Observation};
use service_host::text::CheckText;
use service_probe::legacy_log_pattern;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// The time reserved between the end of a check and the start timeout, to report the result.
const REPORT_MARGIN: Duration = Duration::from_millis(50);

/// Limits a check to the time that is left until the start timeout. Returns the limit if it is shorter than the
/// configured timeout.
fn shorten(entry: &mut ServiceSnapshot, left: Duration) -> Option<Duration> {
    let limit = left.saturating_sub(REPORT_MARGIN.min(left / 10));
    let limit = Duration::from_millis(limit.as_millis().try_into().unwrap_or(u64::MAX).max(1));
    if limit >= entry.definition.health.timeout {
        return None;
    }
    Arc::make_mut(&mut entry.definition).health.timeout = limit;
    Some(limit)
}

impl Drivers {
    /// Checks a run once and reports the result. `left` is the time until the start timeout.
    pub(super) async fn check_and_report(
        self,
        settings: Settings,
        mut entry: ServiceSnapshot,
        run: u64,
        left: Option<Duration>,
    ) {
        let definition = Arc::clone(&entry.definition);
        if definition.is_managed() {
            let managers = self.managers.clone();
            if definition.endpoint.is_none() || definition.oneshot {
                return managers.report_status(settings, definition, run).await;
            }
            // While the service starts, checks are too frequent for a log entry.
            if matches!(entry.snapshot.state, State::Ready { .. }) {
                tokio::spawn(managers.report_status(settings.clone(), Arc::clone(&definition), run));
            }
        }
        let limit = left.and_then(|left| shorten(&mut entry, left));
        let result = self.check(&settings, &entry).await;
        let took_longer = |before: &Arc<CheckResult>| !before.healthy && before.latency > result.latency;
        if limit.is_some_and(|limit| !result.healthy && result.latency >= limit)
            && entry.check.as_ref().is_some_and(took_longer)
        {
            // A shortened check with less time than the previous check needed proves nothing.
            return;
        }
        let verdict = if result.healthy { ProbeResult::Success } else { ProbeResult::Failure };
        self.reports.observed(&definition.name, run, Observation::Checked(result));
        self.reports.event(&definition.name, run, Event::Probed(verdict));
    }

    /// Checks a service for a client. Concurrent clients, and clients within `max_age` afterwards, share one result.
    pub(crate) async fn check_for_client(
        &self,
        settings: &Settings,
        entry: &ServiceSnapshot,
        max_age: Duration,
    ) -> CheckResult {
        let service = &entry.definition;
        let run = format!("{} {}", service.name, entry.snapshot.run);
        self.client_checks.share(&run, service, max_age, || self.check(settings, entry)).await
    }

    /// Checks a service now, whatever its state.
    async fn check(&self, settings: &Settings, entry: &ServiceSnapshot) -> CheckResult {
        let definition = &entry.definition;
        if let Some(endpoint) = &definition.endpoint {
            return self.prober.check(definition, endpoint, entry.shim).await;
        }
        let began = clock::now();
        let (kind, answer) = if definition.is_managed() {
            ("manager", self.managers.check_status(settings, definition).await)
        } else {
            ("process", check_process(entry))
        };
        CheckResult::new(kind, answer, &definition.env, began)
    }

    /// Reports when a process listens on the local port that a starting service is checked at.
    pub(super) fn watch_port(&self, service: &Service, run: u64) -> Option<AbortHandle> {
        let opened = self.prober.watch_port(service)?;
        let (reports, name) = (self.reports.clone(), service.name.clone());
        let task = tokio::spawn(async move {
            if opened.await {
                reports.event(&name, run, Event::PortOpened);
            }
        });
        Some(task.abort_handle())
    }

    /// Reports when a line of the log of a run matches `ready.log`.
    pub(super) fn watch_log(&self, service: &Arc<Service>, run: u64, launched: Moment) -> AbortHandle {
        let (reports, name) = (self.reports.clone(), service.name.clone());
        let matched =
            legacy_log_pattern::wait_for_match(Arc::clone(&self.paths), Arc::clone(service), launched);
        let task = tokio::spawn(async move {
            if matched.await {
                reports.event(&name, run, Event::ReadyNotified);
            }
        });
        task.abort_handle()
    }
}

/// The check of a service that has no endpoint.
fn check_process(entry: &ServiceSnapshot) -> Result<CheckText, CheckText> {
    match entry.pid {
        Some(pid) if service_shim::Process::find(pid).is_some() => Ok(format!("process {pid} runs").into()),
        _ => Err(format!("no process runs; it is {}", entry.snapshot.state_word()).into()),
    }
}
