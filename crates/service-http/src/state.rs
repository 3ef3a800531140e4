//! [`ApiState`]: the shared state of all requests: one project, its orchestrator, and limits of clients.

use super::connection_count::ConnectionCount;
use super::definitions::{FileState, ProjectDefinitions};
use super::journal_body::JournalReads;
use super::log_stream::LogReaders;
use axum::body::Bytes;
use service_api::{Problem, Project};
use service_core::{Moment, Name};
use service_host::procfs::CpuMeter;
use service_host::time_slice::LoopMetrics;
use service_orchestrator::ServiceOrchestrator;
use service_orchestrator::renamed_project::Renames;
use service_store::journal::StartsReaders;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// The time for which a reader waits until a large `services.toml` is loaded.
const READER_PATIENCE: Duration = Duration::from_millis(30);

/// Why the definitions in force are not those of the file.
pub(super) enum Outdated {
    Invalid(Box<Problem>),
    Loading,
}

impl Outdated {
    fn invalid(problem: Problem) -> Self {
        Self::Invalid(Box::new(problem))
    }
}

/// The OpenAPI document, created by its first request.
pub(super) type OpenApiText = LazyLock<Bytes, fn() -> Bytes>;

/// The shared state of all requests.
pub struct ApiState {
    /// The orchestrator that this API serves.
    pub orchestrator: ServiceOrchestrator,
    /// The project of the daemon.
    pub project: Project,
    /// The present definitions: of the file, and the additions.
    pub definitions: ProjectDefinitions,
    /// The start time of the daemon.
    pub began: Moment,
    /// The systemd unit that runs this daemon, if any.
    pub unit: Option<String>,
    /// The connections of all listeners.
    pub connections: Arc<ConnectionCount>,
    /// The turns of the tasks of connections, which parse requests and make the answers.
    pub(super) connection_turns: Arc<LoopMetrics>,
    pub(super) journal_reads: JournalReads,
    pub(super) starts_readers: StartsReaders,
    pub(super) log_readers: LogReaders,
    pub(super) openapi: OpenApiText,
    /// The meter of CPU usage. A blocking mutex suffices: it is never held across an await.
    pub(super) meter: Mutex<CpuMeter>,
    /// Requests the end of the daemon.
    pub stop: Notify,
    /// The lock that an apply holds, because two concurrent applies would undo each other's changes.
    pub(super) applying: Arc<tokio::sync::Mutex<()>>,
    /// The former paths of the project's directory.
    pub(super) renames: Renames,
    /// The URL of the TCP listener, or its error. A blocking mutex suffices: it is never held across an await.
    pub tcp_address: Mutex<Option<String>>,
}

impl ApiState {
    pub(super) fn new(
        orchestrator: ServiceOrchestrator,
        project: Project,
        definitions: ProjectDefinitions,
        began: Moment,
        unit: Option<String>,
        openapi: OpenApiText,
    ) -> Self {
        Self {
            orchestrator,
            project,
            definitions,
            began,
            unit,
            connections: Arc::default(),
            connection_turns: Arc::default(),
            journal_reads: JournalReads::default(),
            starts_readers: StartsReaders::default(),
            log_readers: LogReaders::default(),
            openapi,
            meter: Mutex::default(),
            stop: Notify::new(),
            applying: Arc::default(),
            renames: Renames::default(),
            tcp_address: Mutex::default(),
        }
    }

    /// Loads `services.toml`, if it has changed.
    pub async fn refresh(&self) -> Result<(), Problem> {
        self.refresh_trust().await;
        self.definitions.refresh(&self.orchestrator).await
    }

    async fn refresh_trust(&self) {
        if self.orchestrator.acceptance().refresh_trust().await {
            self.orchestrator.accepted();
        }
    }

    /// As [`refresh`](Self::refresh), for a request that only reads: a large file is loaded while the request is answered,
    /// unless the request names a service that only the changed file may define.
    pub(super) async fn refresh_for_reader(self: &Arc<Self>, names: &[String]) -> Result<(), Outdated> {
        self.refresh_trust().await;
        let plan = self.orchestrator.plan();
        let is_known = |name: &String| plan.id(name).is_some();
        match self.definitions.last_result().await.map_err(Outdated::invalid)? {
            FileState::Unchanged => Ok(()),
            FileState::Large if names.iter().all(is_known) => {
                let api = Arc::clone(self);
                // A load that was abandoned would begin anew with the next request.
                let load = tokio::spawn(async move { api.refresh().await });
                match tokio::time::timeout(READER_PATIENCE, load).await {
                    Ok(loaded) => loaded.unwrap_or(Ok(())).map_err(Outdated::invalid),
                    Err(_) => Err(Outdated::Loading),
                }
            }
            FileState::Small | FileState::Large => self.refresh().await.map_err(Outdated::invalid),
        }
    }

    /// Removes the inactive services among these added services, with their logs, and returns their names.
    pub async fn remove(&self, names: Vec<Name>) -> Result<Vec<Name>, Problem> {
        let removed = self.definitions.remove(&self.orchestrator, names).await?;
        for name in &removed {
            self.orchestrator.remove_files(name).await;
        }
        Ok(removed)
    }
}
