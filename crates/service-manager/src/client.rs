//! [`Managers`]: the state that all calls of managers share.

use super::accepted::AcceptedModules;
use super::call::CallContext;
use super::error::{ManagerError, ModuleError};
use super::log_file::LogReads;
use super::module::{Module, Modules};
use super::poll_group::Polls;
use super::rate_limit::RateLimiter;
use service_api::view;
use service_core::Plan;
use service_core::config::{Service, Settings};
use service_host::acceptance::Acceptance;
use service_host::paths::Paths;
use service_host::report::ReportSender;
use service_host::single_flight::SingleFlight;
use std::path::PathBuf;
use std::sync::Arc;

/// Starts, stops and checks services through managers. Cheap to clone: each task has its own.
#[derive(Clone)]
pub struct Managers {
    pub(super) caller: Arc<CallContext>,
    pub(super) modules: Arc<Modules>,
    pub(super) polls: Arc<Polls>,
    /// The rate limit of followed logs.
    pub(super) log_rate: Arc<RateLimiter>,
    pub(super) log_reads: LogReads,
    /// The results of listing managers.
    pub(super) lists: Arc<SingleFlight<Plan, Vec<view::Manager>>>,
    pub(super) reports: ReportSender,
}

impl Managers {
    /// A client that has made no call yet.
    pub fn new(paths: Arc<Paths>, acceptance: Arc<Acceptance>, reports: ReportSender) -> Self {
        let (acts, questions) = Default::default();
        let caller = Arc::new(CallContext {
            paths,
            acceptance,
            accepted: AcceptedModules::default(),
            acts,
            questions,
        });
        let (modules, polls, log_rate, log_reads, lists) = Default::default();
        Self { caller, modules, polls, log_rate, log_reads, lists, reports }
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.caller.paths
    }

    /// The path of the module that is run for a call of this service's manager.
    pub(super) async fn accepted_module(&self, service: &Arc<Service>) -> Result<PathBuf, ModuleError> {
        let CallContext { paths, acceptance, accepted, .. } = &*self.caller;
        accepted.module_for(paths, acceptance, service).await
    }

    /// The commands and keys of the module of this service's manager.
    pub(super) async fn load_module(
        &self,
        settings: &Settings,
        service: &Arc<Service>,
    ) -> Result<Arc<Module>, ManagerError> {
        self.modules.load(&self.caller, settings, &self.accepted_module(service).await?).await
    }
}
