//! [`ManagerRequest`]: a service as the input of a manager, and the call of a command with it.

use super::call::Call;
use super::client::Managers;
use super::container::Wanted;
use super::error::{ManagerError, ModuleError};
use super::reply::ManagerReply;
use serde::Serialize;
use service_core::config::{Service, Settings};
use service_host::blocking::run_on_files;
use service_host::environment::read_environment;
use service_host::paths::Paths;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A service as the input of a manager.
#[derive(Serialize)]
struct ManagerRequest<'a> {
    name: &'a str,
    description: &'a str,
    start_command: Option<&'a str>,
    stop_command: Option<&'a str>,
    status_command: Option<&'a str>,
    working_dir: PathBuf,
    env: BTreeMap<String, String>,
    with: serde_json::Value,
    project: &'a Path,
    /// The stop timeout in nanoseconds, the unit of Nushell's durations.
    stop_timeout: u64,
    #[serde(flatten)]
    container: Option<Wanted<'a>>,
    #[serde(flatten)]
    lines: RequestedLines,
}

/// The input of `logs`: the number of lines, and the time of the first one.
#[derive(Default, Serialize)]
pub(super) struct RequestedLines {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tail: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
}

fn encode(paths: &Paths, service: &Service, lines: RequestedLines) -> Result<String, ModuleError> {
    let start_command = service.start_command.text.as_str();
    let request = ManagerRequest {
        name: &service.name,
        description: &service.description,
        start_command: (!start_command.is_empty()).then_some(start_command),
        stop_command: service.stop_command.as_deref(),
        status_command: service.status_command.as_deref(),
        working_dir: paths.working_dir(service.working_dir.as_deref()),
        env: read_environment(&paths.base_dir, service)?.into_iter().collect(),
        with: with(service)?,
        project: &paths.project,
        stop_timeout: u64::try_from(service.stop_timeout.as_nanos()).unwrap_or(u64::MAX),
        container: Wanted::new(service, paths),
        lines,
    };
    Ok(serde_json::to_string(&request).map_err(Arc::new)?)
}

pub(super) fn with(service: &Service) -> Result<serde_json::Value, ModuleError> {
    let with = service.with.as_deref().unwrap_or("{}");
    serde_json::from_str(with).map_err(|error| ModuleError::InvalidWith(Arc::new(error)))
}

impl Managers {
    /// The input of a call for this service, in JSON.
    pub(super) async fn encode_request(
        &self,
        module: &Path,
        service: &Arc<Service>,
        lines: RequestedLines,
    ) -> Result<String, ModuleError> {
        let (paths, service) = (Arc::clone(&self.caller.paths), Arc::clone(service));
        self.read_files(module, move || encode(&paths, &service, lines)).await?
    }

    /// The inputs of a call for these services.
    pub(super) async fn encode_requests(
        &self,
        module: &Path,
        services: Vec<Arc<Service>>,
    ) -> Result<Vec<Result<String, ModuleError>>, ModuleError> {
        let paths = Arc::clone(&self.caller.paths);
        let encode_all = move || {
            services.iter().map(|service| encode(&paths, service, RequestedLines::default())).collect()
        };
        self.read_files(module, encode_all).await
    }

    /// Reads env files on another thread, one call of a module after the other.
    async fn read_files<T: Send + 'static>(
        &self,
        module: &Path,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ModuleError> {
        let read = run_on_files(&self.caller.accepted.permit(module), read).await;
        read.map_err(|error| ModuleError::EnvFiles(Arc::new(error)))
    }

    /// Calls a command of the service's manager. The message of the manager lacks the prefix that the caller adds.
    pub(super) async fn call<T: ManagerReply>(
        &self,
        settings: &Settings,
        service: &Arc<Service>,
        command: &str,
    ) -> Result<T, ManagerError> {
        let module = self.load_module(settings, service).await?;
        module.require_command(command)?;
        let input = self.encode_request(&module.path, service, RequestedLines::default()).await?;
        let call = Call { module: &module.path, command, input: input.as_bytes() };
        let reply = call.make(&self.caller, settings).await;
        reply.map_err(|error| error.without_prefix(command, &service.name))
    }
}
