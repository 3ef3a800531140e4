//! [`ApiState`]: the shared state of all requests: one project, its orchestrator, and limits of clients.

use super::connection_count::ConnectionCount;
use super::definitions::Definitions;
use super::journal_body::JournalReads;
use super::log_stream::LogReaders;
use axum::body::Bytes;
use service_api::{Problem, Project};
use service_core::{Moment, Name};
use service_host::clock;
use service_host::procfs::CpuMeter;
use service_orchestrator::ServiceOrchestrator;
use service_orchestrator::renamed_project::Renames;
use service_shim::Files;
use service_store::journal::RetainedStarts;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// The time limit for the shim of an ended service to release its lock.
const SHIM_EXIT_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval between two attempts to acquire this lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The OpenAPI document, created by its first request.
pub(super) type OpenApiText = LazyLock<Bytes, fn() -> Bytes>;

/// The shared state of all requests.
pub struct ApiState {
    /// The orchestrator that this API serves.
    pub orchestrator: ServiceOrchestrator,
    /// The project of the daemon.
    pub project: Project,
    /// The present definitions: of the file, and the additions.
    pub definitions: Definitions,
    /// The start time of the daemon.
    pub began: Moment,
    /// The systemd unit that runs this daemon, if any.
    pub unit: Option<String>,
    /// The connections of all listeners.
    pub connections: Arc<ConnectionCount>,
    pub(super) journal_reads: JournalReads,
    pub(super) retained_starts: RetainedStarts,
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
        definitions: Definitions,
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
            journal_reads: JournalReads::default(),
            retained_starts: RetainedStarts::default(),
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
        if self.orchestrator.acceptance().refresh_trust().await {
            self.orchestrator.accepted();
        }
        self.definitions.refresh(&self.orchestrator).await
    }

    /// Removes the inactive services among these added services, with their logs, and returns their names.
    pub async fn remove(&self, names: Vec<Name>) -> Result<Vec<Name>, Problem> {
        let removed = self.definitions.remove(&self.orchestrator, names).await?;
        for name in &removed {
            remove_files(self.orchestrator.paths().files(name)).await;
        }
        Ok(removed)
    }
}

/// Removes the directory of a service, once its shim has released its lock.
async fn remove_files(files: Files) {
    let deadline = clock::now().plus(SHIM_EXIT_TIMEOUT);
    while files.directory().is_dir() {
        match files.try_lock() {
            Ok(None) if clock::now() < deadline => tokio::time::sleep(LOCK_POLL_INTERVAL).await,
            Ok(Some(lock)) => {
                let remove = move || {
                    if let Err(error) = std::fs::remove_dir_all(files.directory()) {
                        tracing::warn!(%error, "cannot remove the files of a removed service");
                    }
                    drop(lock);
                };
                // The log may be large.
                let _ = tokio::task::spawn_blocking(remove).await;
                return;
            }
            Ok(None) | Err(_) => return,
        }
    }
}
