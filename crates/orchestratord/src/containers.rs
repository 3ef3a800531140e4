//! Counts the running containers of projects without a daemon. Only the container engines of a project's last runs are
//! queried, concurrently and with a short timeout.

use service_core::config::Manager;
use service_host::clock;
use service_host::descriptors;
use service_host::disk::Disk;
use service_store::RunDefinitions;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The timeout for an engine's response.
const ENGINE_TIMEOUT: Duration = Duration::from_millis(300);
/// The interval between two checks for the exit of the process.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(2);
/// The managers whose containers have the labels of a project.
pub(crate) const ENGINES: [&str; 2] = ["podman", "docker"];

/// The number of running containers of each of these projects, which are given by file and state directory; `None` if
/// an engine did not respond.
pub(crate) fn running(projects: &[(&str, &Path)]) -> Vec<Option<usize>> {
    let count_all = |(file, state_dir): (&str, &Path)| {
        engines(state_dir).iter().map(|engine| count_containers(engine, file)).sum::<Option<usize>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            projects.iter().map(|project| scope.spawn(move || count_all(*project))).collect();
        threads.into_iter().map(|thread| thread.join().ok().flatten()).collect()
    })
}

/// The container engines of the project's last runs.
fn engines(state_dir: &Path) -> BTreeSet<String> {
    let managers = RunDefinitions::open(state_dir, Disk::default())
        .map_or_else(|_unreadable| Vec::new(), |definitions| definitions.managers());
    let engines = managers.into_iter().filter_map(|manager| match manager {
        Manager::BuiltIn(name) if ENGINES.contains(&name.as_str()) => Some(name),
        _ => None,
    });
    engines.collect()
}

fn count_containers(engine: &str, file: &str) -> Option<usize> {
    let began = clock::now();
    let mut ask = Command::new(engine);
    ask.args(["ps", "--quiet", &format!("--filter=label=service-orchestrator.project={file}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    descriptors::as_meant(&mut ask);
    let mut child = match ask.spawn() {
        Ok(child) => child,
        // Without the engine's program, no container runs.
        Err(error) if error.kind() == ErrorKind::NotFound => return Some(0),
        Err(_) => return None,
    };
    let ended = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if clock::now().since(began) < ENGINE_TIMEOUT => std::thread::sleep(EXIT_POLL_INTERVAL),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut ids = String::new();
    child.stdout?.read_to_string(&mut ids).ok()?;
    ended.success().then(|| ids.lines().count())
}
