//! Containers of projects without a daemon: who runs them says how many there are. Asked only of the engines that the
//! project's services were last started with, all at the same time, and not for long.

use crate::host::clock;
use crate::host::descriptors;
use serde::Deserialize;
use service_core::config::Manager;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// An engine that does not answer within this is not waited for.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(2);
/// The managers whose containers carry our labels.
pub(crate) const ENGINES: [&str; 2] = ["podman", "docker"];

/// How many containers of each of these projects run, given its file and its state directory; `None` where an engine did
/// not answer.
pub(crate) fn running(projects: &[(&str, &Path)]) -> Vec<Option<usize>> {
    let ask = |(file, state_dir): (&str, &Path)| {
        engines(state_dir).iter().map(|engine| count(engine, file)).sum::<Option<usize>>()
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = projects.iter().map(|project| scope.spawn(move || ask(*project))).collect();
        asked.into_iter().map(|answer| answer.join().ok().flatten()).collect()
    })
}

#[derive(Deserialize)]
struct Kept {
    definition: Definition,
}

#[derive(Deserialize)]
struct Definition {
    manager: Manager,
}

/// The engines that services of a project were last started with.
fn engines(state_dir: &Path) -> BTreeSet<String> {
    let services = std::fs::read_dir(state_dir.join("services")).into_iter().flatten().flatten();
    let kept = services.filter_map(|service| {
        let text = std::fs::read(service.path().join("definition.json")).ok()?;
        serde_json::from_slice::<Kept>(text.split(|&byte| byte == b'\n').next()?).ok()
    });
    let engines = kept.filter_map(|kept| match kept.definition.manager {
        Manager::BuiltIn(name) if ENGINES.contains(&name.as_str()) => Some(name),
        _ => None,
    });
    engines.collect()
}

fn count(engine: &str, file: &str) -> Option<usize> {
    let asked = clock::now();
    let mut ask = Command::new(engine);
    ask.args(["ps", "--quiet", &format!("--filter=label=service-orchestrator.project={file}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    descriptors::as_meant(&mut ask);
    let mut child = match ask.spawn() {
        Ok(child) => child,
        // It has gone, and its containers with it.
        Err(error) if error.kind() == ErrorKind::NotFound => return Some(0),
        Err(_) => return None,
    };
    let ended = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if clock::now().since(asked) < PATIENCE => std::thread::sleep(LOOK),
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
