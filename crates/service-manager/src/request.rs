//! [`ManagerRequest`]: a service as the input of a manager, and the call of a command with it.

use super::call::Call;
use super::client::Managers;
use super::container::Wanted;
use super::status::ManagerReply;
use serde::Serialize;
use service_core::config::{Service, Settings};
use service_host::environment::read_environment;
use service_host::paths::Paths;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A service as the input of a manager.
#[derive(Serialize)]
pub(super) struct ManagerRequest<'a> {
    name: &'a str,
    description: &'a str,
    start_command: Option<&'a str>,
    stop_command: Option<&'a str>,
    status_command: Option<&'a str>,
    working_dir: PathBuf,
    env: BTreeMap<String, String>,
    with: serde_json::Value,
    project: &'a std::path::Path,
    /// The stop timeout in nanoseconds, the unit of Nushell's durations.
    stop_timeout: u64,
    #[serde(flatten)]
    container: Option<Wanted<'a>>,
    /// The input of `logs`: the number of lines, and the time of the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tail: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
}

pub(super) fn request_for<'a>(paths: &'a Paths, service: &'a Service) -> Result<ManagerRequest<'a>, String> {
    let start_command = service.start_command.text.as_str();
    Ok(ManagerRequest {
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
        tail: None,
        since: None,
    })
}

pub(super) fn with(service: &Service) -> Result<serde_json::Value, String> {
    let with = service.with.as_deref().unwrap_or("{}");
    serde_json::from_str(with).map_err(|error| format!("`with` cannot be passed on: {error}"))
}

impl Managers {
    /// Calls a command of the service's manager. The error has the manager's message.
    pub(super) async fn call<T: ManagerReply>(
        &self,
        settings: &Settings,
        service: &Service,
        command: &str,
    ) -> Result<T, String> {
        let module = self.modules.load(&self.caller, settings, &self.accepted_module(service)).await?;
        module.require_command(command)?;
        self.send(settings, service, &module.path, command, &request_for(self.paths(), service)?).await
    }

    async fn send<T: ManagerReply>(
        &self,
        settings: &Settings,
        service: &Service,
        module: &std::path::Path,
        command: &str,
        request: &ManagerRequest<'_>,
    ) -> Result<T, String> {
        let input = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        let call = Call { module, command, input: &input };
        call.make(&self.caller, settings)
            .await
            .map_err(|trouble| trouble.without_prefix(command, &service.name))
    }
}
