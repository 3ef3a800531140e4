//! The beginning and the end of a login or a boot, which are not those of a daemon: what is started once, and stopped in
//! order when the user's systemd takes everything down.

use super::unit::Starts;
use crate::daemon::Shared;
use crate::host::descriptors;
use crate::host::fs::write_private;
use crate::orchestrator::{Verb, Wish};
use service_core::service::{Goal, State};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// How long systemd may take to say whether it is being shut down.
const TELLS_WITHIN: Duration = Duration::from_secs(2);

/// Starts what is to run from the beginning of the session, unless an earlier daemon of it has: a daemon that is started
/// again starts nothing that somebody has stopped meanwhile.
pub(crate) fn begin(shared: &Arc<Shared>, starts: &Starts) {
    let mark = shared.project.session_mark();
    match std::fs::OpenOptions::new().write(true).create_new(true).open(&mark) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return,
        Err(error) => tracing::warn!(%error, "cannot note that the session has begun"),
    }
    let plan = shared.orchestrator.plan();
    let before = std::fs::read_to_string(ran(shared)).unwrap_or_default();
    let _ = std::fs::remove_file(ran(shared));
    let wanted = plan
        .ids()
        .map(|id| plan.service(id))
        .filter(|service| starts.covers(service) || before.lines().any(|name| name == &*service.name));
    let names: Vec<String> = wanted.map(|service| service.name.to_string()).collect();
    tracing::info!(services = names.join(", "), "the session begins");
    if names.is_empty() {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        shared.orchestrator.accept().await;
        match shared.orchestrator.wish(Wish::new(Verb::Start, names).for_command("login").by("daemon")).await
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

/// Whether the user's systemd is ending everything. To stop or restart the unit alone leaves services where they are.
pub(crate) async fn is_leaving() -> bool {
    let mut ask = Command::new("systemctl");
    ask.args(["--user", "is-system-running"]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    descriptors::as_meant(ask.as_std_mut());
    match tokio::time::timeout(TELLS_WITHIN, ask.output()).await {
        Ok(Ok(output)) => output.stdout.trim_ascii() == b"stopping",
        Ok(Err(_)) | Err(_) => false,
    }
}

/// The session is over. Writes down what is wanted and has not done its work, so that the next one begins with it.
pub(crate) fn note_who_ran(shared: &Shared) {
    let _ = std::fs::remove_file(shared.project.session_mark());
    let board = shared.orchestrator.board();
    let is_done = |state: &State| matches!(state, State::Completed { .. });
    let wanted = board
        .entries
        .iter()
        .filter(|entry| entry.snapshot.goal != Goal::Down && !is_done(&entry.snapshot.state));
    let names: Vec<&str> = wanted.map(|entry| &*entry.definition.name).collect();
    if let Err(error) = write_private(&ran(shared), names.join("\n").as_bytes()) {
        tracing::error!(%error, "cannot write down what ran");
    }
}

fn ran(shared: &Shared) -> PathBuf {
    shared.project.state_dir.join("session")
}
