//! [`ServiceOrchestrator`]: the handle. The engine owns the fleet; the handle sends it commands and reads its snapshots.

use crate::check_support::check_support;
use crate::checks_in_flight::ChecksInFlight;
use crate::engine::drivers::Drivers;
use crate::engine::message::EngineCommand;
use crate::lookup::{not_found, resolve};
use crate::request::{Request, Verb, WaitRequest, on_behalf};
use crate::service::{Service, ServiceHealth, ServiceStatus};
use crate::snapshot::FleetSnapshot;
use service_api::{Code, Outcome, Problem};
use service_core::config;
use service_core::{Name, Plan};
use service_host::acceptance::{Acceptance, NOT_ASKED};
use service_host::clock;
use service_host::paths::Paths;
use service_host::report::CheckResult;
use service_host::time_slice::LoopMetrics;
use service_manager::Managers;
use service_process::Shims;
use service_store::journal::Subscription;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Starts, stops and watches services. Cheap to clone; every clone is the same orchestrator.
///
/// Services outlive the last handle and the program, because each has a supervisor process of its own. Stop them, or
/// adopt them later with the same [`state_dir`](crate::Builder::state_dir).
#[derive(Clone)]
pub struct ServiceOrchestrator {
    pub(crate) drivers: Drivers,
    pub(crate) commands: mpsc::UnboundedSender<EngineCommand>,
    pub(crate) checks_in_flight: Arc<ChecksInFlight>,
    pub(crate) fleet: watch::Receiver<Arc<FleetSnapshot>>,
}

impl ServiceOrchestrator {
    /// Adds a service, or replaces the definition of the service with this name. A running process keeps its old
    /// definition until it is restarted.
    ///
    /// # Errors
    /// [`Code::BadDefinition`] if the definition is invalid, has an unknown dependency, closes a dependency cycle, or has
    /// an HTTP check and the feature `http` is off; nothing is changed then.
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
        self.await_unreported_exits(&request).await;
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
    /// [`Code::DaemonUnreachable`] after a shutdown, [`Code::BadDefinition`] for an HTTP check if the feature `http` is
    /// off.
    pub async fn replan(&self, plan: Plan) -> Result<(), Problem> {
        check_support(plan.ids().map(|id| &**plan.service(id)))?;
        let by = on_behalf();
        self.call(|reply| EngineCommand::Replan { plan, by, reply }).await
    }

    /// Adds and replaces the definitions `added`, and removes the inactive services in `removed`. Returns the removed
    /// names.
    ///
    /// # Errors
    /// [`Code::BadDefinition`] if the resulting plan is invalid; nothing is changed then.
    pub async fn redefine(
        &self,
        added: Vec<config::Service>,
        removed: Vec<Name>,
    ) -> Result<Vec<Name>, Problem> {
        check_support(&added)?;
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

    /// Ends the orchestrator. Services continue. The orchestrator's state is on disk when this returns.
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
    use std::io::{Read, Write};

    #[tokio::test]
    async fn the_library_checks_an_http_endpoint() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let serve = std::thread::spawn(move || {
            let mut stream = server.accept().unwrap().0;
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        });
        let orchestrator = ServiceOrchestrator::new().await.unwrap();
        let service = Service {
            name: "web".into(),
            description: String::new(),
            dependencies: Vec::new(),
            start_command: "sleep 60".into(),
            stop_command: String::new(),
            health_check_endpoint: Some(format!("http://127.0.0.1:{port}/")),
        };
        orchestrator.register_service(service).await.unwrap();
        let health = orchestrator.check_service_health("web").await.unwrap();
        assert_eq!((health.healthy, &*health.message), (true, "HTTP 204 No Content"));
        tokio::task::spawn_blocking(|| serve.join().unwrap()).await.unwrap();
        orchestrator.shutdown().await;
    }
}
