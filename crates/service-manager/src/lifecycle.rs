//! Starts, stops, restarts and checks services through their managers.

use super::client::Managers;
use super::embedded::path_for;
use super::error::{ManagerError, ModuleError};
use super::module::{self, Module};
use super::request::with;
use super::status::{ReportedState, ReportedStatus};
use service_core::config::{Service, Settings};
use service_core::service::Event;
use service_host::clock;
use service_host::report::{ManagerInfo, Observation};
use service_host::text::CheckText;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Checks whether managers can run services. Each module is inspected once for all its services.
#[derive(Default)]
pub struct Fitness(BTreeMap<PathBuf, Result<Arc<Module>, ManagerError>>);

impl Fitness {
    /// Checks that a service's module can be read, has the required commands, and reads every key of the service's
    /// `with`.
    pub async fn check(
        &mut self,
        managers: &Managers,
        settings: &Settings,
        service: &Arc<Service>,
    ) -> Result<(), ManagerError> {
        let path = managers.accepted_module(service).await?;
        if !self.0.contains_key(&path) {
            let module = managers.modules.load(&managers.caller, settings, &path).await;
            self.0.insert(path.clone(), module);
        }
        let module = self.0[&path].as_ref().map_err(ManagerError::clone)?;
        module.complete()?;
        Ok(module.check_with_keys(&with(service)?)?)
    }
}

impl Managers {
    /// Checks that a service's module is a readable file. The module is not run.
    pub fn find_module(&self, service: &Service) -> Result<(), ModuleError> {
        module::find(&path_for(self.paths(), service))
    }

    /// Starts a service through its manager.
    pub async fn start(self, settings: Settings, service: Arc<Service>, run: u64) {
        // A service that can be started must also be stoppable and checkable.
        if let Err(error) = Fitness::default().check(&self, &settings, &service).await {
            return self.reports.event(&service.name, run, Event::LaunchFailed(error.to_string()));
        }
        let began = clock::now();
        let status = match self.call::<ReportedStatus>(&settings, &service, "start").await {
            Ok(status) => status,
            Err(error) => {
                return self.reports.event(&service.name, run, Event::LaunchFailed(error.to_string()));
            }
        };
        // An exit code or a signal means that the service ran and ended at once.
        let is_down = matches!(status.state, ReportedState::Stopped | ReportedState::Failed);
        let has_run = is_down && status.exit().is_some();
        if is_down && !has_run {
            let why = status.describe();
            return self.reports.event(&service.name, run, Event::LaunchFailed(why));
        }
        self.report_started(&service, run, status.to_info());
        if status.state == ReportedState::Completed || has_run {
            let check = status.checked(clock::now().since(began));
            let what = Observation::Checked(check);
            self.reports.observed(&service.name, run, what);
            self.reports.event(&service.name, run, status.event());
        }
    }

    /// Reports that a run has begun.
    pub fn report_started(&self, service: &Service, run: u64, told: ManagerInfo) {
        let what = Observation::Manager(told);
        self.reports.observed(&service.name, run, what);
        self.reports.event(&service.name, run, Event::Launched);
    }

    /// Restarts a service in one call if its manager has `restart`. Otherwise only stops the service.
    pub async fn restart(self, settings: Settings, service: Arc<Service>, run: u64) {
        let module = self.load_module(&settings, &service).await;
        if module.is_ok_and(|module| module.has_command("restart")) {
            match self.call::<ReportedStatus>(&settings, &service, "restart").await {
                Ok(status)
                    if matches!(
                        status.state,
                        ReportedState::Running | ReportedState::Starting | ReportedState::Unknown
                    ) =>
                {
                    let told = status.to_info();
                    self.reports.manager_restarted(&service.name, run, told);
                    return;
                }
                Ok(status) => {
                    tracing::warn!(service = %service.name, said = status.describe(), "it is down after a restart");
                }
                Err(error) => {
                    tracing::warn!(service = %service.name, message = %error, "a restart failed");
                }
            }
        }
        // A stop and a start follow instead. Together they have the same result, and they report the error.
        self.stop(settings, service, run).await;
    }

    /// Stops a service through its manager. If the manager fails, it is called again after the service's stop timeout.
    pub async fn stop(self, settings: Settings, service: Arc<Service>, run: u64) {
        let result = self.call::<ReportedStatus>(&settings, &service, "stop").await;
        let result = result.and_then(|status| match status.state {
            ReportedState::Running | ReportedState::Starting => {
                Err(ManagerError::StillRuns { reason: status.message })
            }
            ReportedState::Stopped
            | ReportedState::Failed
            | ReportedState::Completed
            | ReportedState::Unknown => Ok(status),
        });
        let stop_error = result.as_ref().err().map(ManagerError::to_string);
        self.reports.observed(&service.name, run, Observation::StopError(stop_error));
        if let Ok(status) = result {
            self.reports.event(&service.name, run, Event::TreeExited(status.ending()));
        }
    }

    /// Queries the status and the health of a service.
    pub async fn check_status(
        &self,
        settings: &Settings,
        service: &Arc<Service>,
    ) -> Result<CheckText, CheckText> {
        let status = self.call::<ReportedStatus>(settings, service, "status").await;
        let status = status.map_err(|error| CheckText::from(error.to_string()))?;
        let text = CheckText::from(status.describe());
        if status.is_healthy() { Ok(text) } else { Err(text) }
    }
}
