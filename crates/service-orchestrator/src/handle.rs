//! [`ServiceOrchestrator`]: the handle. The engine owns the fleet; the handle sends it commands and reads its snapshots.

use service_host::fs::make_temporary_dir;
use service_host::fs::private_dir;
use service_host::report::ReportSender;
use service_host::time_slice::LoopMetrics;

use crate::checks_in_flight::ChecksInFlight;
use crate::engine::drivers::Drivers;
use crate::engine::inbox::Inbox;
use crate::engine::message::EngineCommand;
use crate::engine::start::run;
use crate::lookup::{not_found, resolve};
use crate::request::{Request, Verb, WaitRequest, on_behalf};
use crate::service::{Service, ServiceHealth, ServiceStatus};
use crate::snapshot::FleetSnapshot;
use service_api::{Code, Outcome, Problem};
use service_core::config::{self, Config};
use service_core::{Name, Plan};
use service_host::acceptance::{Acceptance, NOT_ASKED};
use service_host::clock;
use service_host::disk::Disk;
use service_host::paths::Paths;
use service_host::report::CheckResult;
use service_manager as manager;
use service_manager::Managers;
use service_probe::Prober;
use service_process::Shims;
use service_process::shim_program::find_shim;
use service_store::journal::Subscription;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Starts, stops and watches services. Cheap to clone; every clone is the same orchestrator.
///
/// Services outlive the last handle and the program, because each has a supervisor process of its own. Stop them, or
/// adopt them later with the same [`Builder::state_dir`].
#[derive(Clone)]
pub struct ServiceOrchestrator {
    drivers: Drivers,
    commands: mpsc::UnboundedSender<EngineCommand>,
    checks_in_flight: Arc<ChecksInFlight>,
    fleet: watch::Receiver<Arc<FleetSnapshot>>,
}

/// The directories and the initial definitions of an orchestrator.
#[derive(Debug, Default)]
pub struct Builder {
    state_dir: Option<PathBuf>,
    fallback_state_file: Option<PathBuf>,
    disk: Disk,
    descriptors: Option<u64>,
    project: Option<PathBuf>,
    base_dir: Option<PathBuf>,
    shim: Option<PathBuf>,
    nu: Option<PathBuf>,
    acceptance: Arc<Acceptance>,
    config: Config,
}

impl Builder {
    /// The state directory, which only this user may read. Default: a new temporary directory.
    #[must_use]
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// The fallback for the state while the state directory cannot be written. Default: none.
    #[must_use]
    pub fn fallback_state_file(mut self, file: PathBuf) -> Self {
        self.fallback_state_file = Some(file);
        self
    }

    /// The [`Disk`] that syncs the files. Default: a new one.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// The descriptor limit of services. Default: the limit of this process.
    #[must_use]
    pub fn descriptors(mut self, descriptors: Option<u64>) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// The accepted definitions. Default: all definitions.
    #[must_use]
    pub fn acceptance(mut self, acceptance: Arc<Acceptance>) -> Self {
        self.acceptance = acceptance;
        self
    }

    /// The file of the project, by which managers identify its services. Default: the base directory.
    #[must_use]
    pub fn project(mut self, file: &std::path::Path) -> Self {
        self.project = Some(file.to_owned());
        self
    }

    /// The base directory of relative paths in definitions. Default: the current directory.
    #[must_use]
    pub fn base_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.base_dir = Some(dir.into());
        self
    }

    /// The program `service-shim`. Default: `$SERVICE_SHIM`, else beside this program, else on `PATH`.
    #[must_use]
    pub fn shim(mut self, program: impl Into<PathBuf>) -> Self {
        self.shim = Some(program.into());
        self
    }

    /// The Nushell that runs manager modules. Default: `nu` on `PATH`.
    #[must_use]
    pub fn nu(mut self, program: Option<PathBuf>) -> Self {
        self.nu = program;
        self
    }

    /// The initial settings and services. Default: default settings, and no services.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Recovers the state directory and starts.
    ///
    /// # Errors
    /// [`Code::BadDefinition`] if the services cannot be ordered, [`Code::Storage`] if the state directory cannot be
    /// used, [`Code::Internal`] if the shim is not found.
    pub async fn start(self) -> Result<ServiceOrchestrator, Problem> {
        let plan = Plan::compile(self.config).map_err(|errors| {
            let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Problem::new(Code::BadDefinition, messages.join("; "))
        })?;
        let mut builder = Self { config: Config::default(), ..self };
        builder.start_plan(plan).await
    }

    /// Like [`Builder::start`], with a plan instead of a configuration.
    ///
    /// # Errors
    /// The errors of [`Builder::start`].
    pub async fn start_plan(&mut self, plan: Plan) -> Result<ServiceOrchestrator, Problem> {
        let state_dir = self.state_dir.take().map_or_else(make_temporary_dir, Ok).map_err(|error| {
            Problem::from_io(&error, format!("cannot create a temporary state directory: {error}"))
                .or_help("set TMPDIR to a directory that can be written")
        })?;
        let cannot = |what: &str, error: std::io::Error| {
            Problem::from_io(&error, format!("cannot {what} `{}`: {error}", state_dir.display()))
                .or_help("make the directory writable, or use another one")
        };
        private_dir(&state_dir).map_err(|error| cannot("use the state directory", error))?;
        let shim = self.shim.take().map_or_else(find_shim, Ok)?;
        let base_dir = self.base_dir.take().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        let paths = Paths {
            project: self.project.take().unwrap_or_else(|| base_dir.clone()),
            base_dir,
            nu: self.nu.take(),
            boot_id: service_shim::process::boot_id()
                .map_err(|error| cannot("identify the boot for", error))?,
            fallback_state_file: self.fallback_state_file.take(),
            disk: self.disk.clone(),
            state_dir: state_dir.clone(),
        };
        private_dir(&paths.services()).map_err(|error| cannot("use the state directory", error))?;
        if let Err(error) = manager::install(&paths) {
            // The start of a service with a manager will report the error. Other services are not affected.
            tracing::error!(%error, "cannot write the managers");
        }
        let (reports, incoming) = ReportSender::channel();
        let (commands, requests) = mpsc::unbounded_channel();
        let (paths, acceptance) = (Arc::new(paths), Arc::clone(&self.acceptance));
        let (loop_metrics, client_checks) = Default::default();
        let drivers = Drivers {
            shims: Shims::new(Arc::clone(&paths), shim, self.descriptors, reports.clone()),
            prober: Prober::new(Arc::clone(&paths)),
            managers: Managers::new(Arc::clone(&paths), Arc::clone(&acceptance), reports.clone()),
            paths,
            acceptance,
            loop_metrics,
            client_checks,
            reports,
        };
        let inbox = Inbox::new(incoming, requests);
        let fleet = run(drivers.clone(), plan, inbox, commands.clone()).await.map_err(|error| {
            Problem::from_io(&error, format!("cannot read the state in `{}`: {error}", state_dir.display()))
        })?;
        Ok(ServiceOrchestrator { drivers, commands, checks_in_flight: Arc::default(), fleet })
    }
}

impl ServiceOrchestrator {
    /// An orchestrator without services, with default settings. Use [`ServiceOrchestrator::builder`] for other
    /// settings.
    ///
    /// # Errors
    /// The errors of [`Builder::start`].
    pub async fn new() -> Result<Self, Problem> {
        Self::builder().start().await
    }

    /// A builder, to set directories, settings and services.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Adds a service, or replaces the definition of the service with this name. A running process keeps its old
    /// definition until it is restarted.
    ///
    /// # Errors
    /// [`Code::BadDefinition`] if the definition is invalid, has an unknown dependency, or closes a dependency cycle;
    /// nothing is changed then.
    pub async fn register_service(&self, service: Service) -> Result<(), Problem> {
        let definition: config::Service = service.try_into()?;
        self.redefine(vec![definition], Vec::new()).await.map(drop)
    }

    /// The names of these services and of all their dependencies, in start order.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    #[expect(clippy::unused_async, reason = "the documented API is async")]
    pub async fn resolve_startup_order(&self, names: &[String]) -> Result<Vec<String>, Problem> {
        let plan = self.plan();
        let ids = resolve(&plan, names)?;
        let order = plan.with_dependencies(&ids);
        Ok(order.into_iter().map(|id| plan.service(id).name.to_string()).collect())
    }

    /// Starts a service and, unless `auto_start_dependencies` is off, its dependencies. Returns when the service is
    /// ready.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::ManagerDisabled`], [`Code::DependencyNotRunning`], or the reason why the service did
    /// not become ready.
    pub async fn start_service(&self, name: &str) -> Result<(), Problem> {
        self.one(Verb::Start, name).await
    }

    /// Stops a service, after its running dependents. Returns when all their processes have ended.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::ManagerDisabled`], or the reason why a service did not stop.
    pub async fn stop_service(&self, name: &str) -> Result<(), Problem> {
        self.one(Verb::Stop, name).await
    }

    async fn one(&self, verb: Verb, name: &str) -> Result<(), Problem> {
        let mut rows = self.request(Request::new(verb, vec![name.to_owned()])).await?;
        let mut result = Ok(());
        while let Some(row) = rows.recv().await {
            if let (true, Some(problem)) = (row.name == name, row.error) {
                result = Err(problem);
            }
        }
        result
    }

    /// Prepares the first start, unless managers run all services.
    pub async fn warm(&self) {
        let plan = self.plan();
        if plan.ids().any(|id| !plan.service(id).is_managed()) {
            self.drivers.shims.zygote().start_in_advance().await;
        }
    }

    /// Sends a request. A row arrives for each included service when its result is known, then the channel closes.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::ManagerDisabled`], [`Code::DependencyNotRunning`], and for a restart
    /// [`Code::StartFailed`]. Nothing was done then.
    pub async fn request(&self, request: Request) -> Result<mpsc::UnboundedReceiver<Outcome>, Problem> {
        if request.verb == Verb::Restart && request.planned.is_none() {
            self.check_restart(&request).await?;
        }
        let (rows, receiver) = mpsc::unbounded_channel();
        self.call(|reply| EngineCommand::Request { request, rows, reply }).await??;
        Ok(self.explained(receiver))
    }

    /// Waits for a state without requesting it. A row arrives for each service once the service has the state or cannot
    /// reach it.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn watch(&self, watch: WaitRequest) -> Result<mpsc::UnboundedReceiver<Outcome>, Problem> {
        let (rows, receiver) = mpsc::unbounded_channel();
        self.call(|reply| EngineCommand::Wait { watch, rows, reply }).await??;
        Ok(receiver)
    }

    /// A receiver of each published snapshot.
    pub fn snapshots(&self) -> watch::Receiver<Arc<FleetSnapshot>> {
        self.fleet.clone()
    }

    /// Checks the health of a service now.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn check_service_health(&self, name: &str) -> Result<ServiceHealth, Problem> {
        let CheckResult { healthy, message, latency, .. } = self.check(name, Duration::ZERO).await?;
        Ok(ServiceHealth { healthy, message, latency })
    }

    /// Like [`check_service_health`](Self::check_service_health), but a result that is at most `kept` old is accepted.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn check(&self, name: &str, kept: Duration) -> Result<CheckResult, Problem> {
        let fleet = self.fleet_snapshot();
        let entry = fleet.entry(name).ok_or_else(|| not_found(&fleet.plan, name))?;
        if !entry.snapshot.state.is_alive() && !self.drivers.acceptance.covers(&entry.definition).await {
            let (kind, latency) = ("manager", std::time::Duration::ZERO);
            let kind = entry.definition.endpoint.as_ref().map_or(kind, |endpoint| endpoint.kind());
            return Ok(CheckResult {
                healthy: false,
                kind,
                message: NOT_ASKED.into(),
                fault: None,
                latency,
                at: clock::today(),
            });
        }
        Ok(self.drivers.check_for_client(fleet.plan.settings(), entry, kept).await)
    }

    /// The coarse state of a service.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    #[expect(clippy::unused_async, reason = "the documented API is async")]
    pub async fn get_service_status(&self, name: &str) -> Result<ServiceStatus, Problem> {
        let fleet = self.fleet_snapshot();
        let entry = fleet.entry(name).ok_or_else(|| not_found(&fleet.plan, name))?;
        Ok(entry.snapshot.status.into())
    }

    /// Replaces the plan. Running services continue.
    ///
    /// # Errors
    /// [`Code::DaemonUnreachable`] after a shutdown.
    pub async fn replan(&self, plan: Plan) -> Result<(), Problem> {
        let by = on_behalf();
        self.call(|reply| EngineCommand::Replan { plan, by, reply }).await
    }

    /// Adds and replaces these definitions, and removes those of inactive services. Returns the removed names.
    ///
    /// # Errors
    /// [`Code::BadDefinition`] if the resulting plan is invalid; nothing is changed then.
    pub async fn redefine(
        &self,
        added: Vec<config::Service>,
        removed: Vec<Name>,
    ) -> Result<Vec<Name>, Problem> {
        let by = on_behalf();
        self.call(|reply| EngineCommand::Redefine { added, removed, by, reply }).await?
    }

    /// Records that the user accepts the commands of this plan, so that queries may run them.
    pub async fn accept(&self) {
        let (acceptance, plan) = (Arc::clone(&self.drivers.acceptance), self.plan());
        if tokio::task::spawn_blocking(move || acceptance.accept_blocking(&plan)).await.unwrap_or(true) {
            self.accepted();
        }
    }

    /// Reports that the accepted definitions have changed.
    pub fn accepted(&self) {
        let _ = self.commands.send(EngineCommand::Accepted);
    }

    /// Ends the orchestrator. Services continue. Its state is on disk when this returns.
    pub async fn shutdown(&self) {
        let _ = self.call(|reply| EngineCommand::Finish { reply }).await;
        self.drivers.shims.zygote().end().await;
    }

    /// The past events of these services, or of all, and a subscription to later ones.
    ///
    /// # Errors
    /// [`Code::NotFound`] for a service that is neither defined nor in the journal.
    pub async fn journal(&self, names: Vec<String>) -> Result<Subscription, Problem> {
        self.call(|reply| EngineCommand::SubscribeJournal { names, reply }).await?
    }

    /// Checks that the engine responds. Returns the last error of its journal, if any.
    ///
    /// # Errors
    /// [`Code::DaemonUnreachable`] after a shutdown.
    pub async fn examine(&self) -> Result<Option<String>, Problem> {
        self.call(|reply| EngineCommand::CheckHealth { reply }).await
    }

    /// The latest snapshot of the fleet.
    pub fn fleet_snapshot(&self) -> Arc<FleetSnapshot> {
        Arc::clone(&self.fleet.borrow())
    }

    /// The paths of the files.
    pub fn paths(&self) -> &Arc<Paths> {
        &self.drivers.paths
    }

    /// The accepted definitions.
    pub fn acceptance(&self) -> &Arc<Acceptance> {
        &self.drivers.acceptance
    }

    /// The driver of the shims.
    pub fn shims(&self) -> &Shims {
        &self.drivers.shims
    }

    /// The driver of the managers.
    pub fn managers(&self) -> &Managers {
        &self.drivers.managers
    }

    /// Measures how long the engine blocks its thread.
    pub fn loop_metrics(&self) -> &LoopMetrics {
        &self.drivers.loop_metrics
    }

    /// The running checks requested by clients.
    pub(crate) fn checks_in_flight(&self) -> &Arc<ChecksInFlight> {
        &self.checks_in_flight
    }

    /// Returns when the engine has ended.
    pub async fn closed(&self) {
        self.commands.closed().await;
    }

    /// The plan that is in force.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.fleet.borrow().plan)
    }

    pub(crate) async fn call<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> EngineCommand,
    ) -> Result<T, Problem> {
        let gone = || {
            Problem::new(Code::DaemonUnreachable, "the orchestrator has been shut down")
                .help("services keep running; try again, the next daemon answers")
        };
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_state_directory_that_cannot_be_trusted_is_a_matter_of_storage_with_a_next_step() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let started = ServiceOrchestrator::builder().state_dir(directory.path().join("state")).start().await;
        let problem = started.err().unwrap();
        assert_eq!(problem.code, Code::Storage, "{problem}");
        assert!(problem.help.unwrap().starts_with("run `chmod go-w"));
    }
}
