//! Sessions: services are started once at the beginning of a login or a boot, and stopped in order at the end. The
//! daemon may be restarted in between.

use super::unit::StartSet;
use service_core::service::{Goal, State};
use service_host::descriptors;
use service_host::fs::write_private;
use service_http::ApiState;
use service_orchestrator::request::{Request, Verb};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// The timeout for the query whether systemd is shutting down.
const SYSTEMCTL_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the services of the session, unless an earlier daemon of the session has started them, so that a restarted
/// daemon does not start services that were stopped meanwhile.
pub(crate) fn start_session(api: &Arc<ApiState>, starts: &StartSet) {
    let mark = api.project.session_mark();
    match std::fs::OpenOptions::new().write(true).create_new(true).open(&mark) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return,
        Err(error) => tracing::warn!(%error, "cannot record the start of the session"),
    }
    let plan = api.orchestrator.plan();
    let before = std::fs::read_to_string(resume_file(api)).unwrap_or_default();
    let _ = std::fs::remove_file(resume_file(api));
    let wanted = plan
        .ids()
        .map(|id| plan.service(id))
        .filter(|service| starts.contains(service) || before.lines().any(|name| name == &*service.name));
    let names: Vec<String> = wanted.map(|service| service.name.to_string()).collect();
    tracing::info!(services = names.join(", "), "the session begins");
    if names.is_empty() {
        return;
    }
    let api = Arc::clone(api);
    tokio::spawn(async move {
        api.orchestrator.accept().await;
        match api
            .orchestrator
            .request(Request::new(Verb::Start, names).for_command("login").by("daemon"))
            .await
        {
            Ok(mut rows) => {
                while let Some(row) = rows.recv().await {
                    if let Some(problem) = row.error {
                        tracing::error!(
                            service = row.name,
                            problem = problem.message,
                            "not started with the session"
                        );
                    }
                }
            }
            Err(problem) => tracing::error!(problem = problem.message, "nothing is started with the session"),
        }
    });
}

/// Whether the user's systemd is shutting down. If only the unit is stopped or restarted, services keep running.
pub(crate) async fn is_session_ending() -> bool {
    let mut ask = Command::new("systemctl");
    ask.args(["--user", "is-system-running"]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    descriptors::as_meant(ask.as_std_mut());
    match tokio::time::timeout(SYSTEMCTL_TIMEOUT, ask.output()).await {
        Ok(Ok(output)) => output.stdout.trim_ascii() == b"stopping",
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Saves the services with goal up that have not completed, so that the next session starts them.
pub(crate) fn save_services_to_resume(api: &ApiState) {
    let _ = std::fs::remove_file(api.project.session_mark());
    let fleet = api.orchestrator.fleet_snapshot();
    let is_done = |state: &State| matches!(state, State::Completed { .. });
    let wanted = fleet
        .entries
        .iter()
        .filter(|entry| entry.snapshot.goal != Goal::Down && !is_done(&entry.snapshot.state));
    let names: Vec<&str> = wanted.map(|entry| &*entry.definition.name).collect();
    if let Err(error) = write_private(&resume_file(api), names.join("\n").as_bytes()) {
        tracing::error!(%error, "cannot save which services to start with the next session");
    }
}

/// The file with the names of the services that the next session starts.
fn resume_file(api: &ApiState) -> PathBuf {
    api.project.state_dir.join("session")
}
