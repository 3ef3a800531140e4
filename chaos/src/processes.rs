//! Finds the processes of the run, and the service of each.

use crate::project::Project;
use service_tests::{marked, name};
use std::fs;

/// The kinds of processes that faults hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Daemon,
    Zygote,
    Shim,
    Service,
    Child,
}

/// One process of the run.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The service that the process runs or supervises.
    pub(crate) service: Option<String>,
}

/// All processes, ordered by pid.
pub(crate) fn all(project: &Project) -> Vec<Process> {
    let mut pids = marked(&project.root);
    pids.sort_unstable();
    let mut found: Vec<Process> = pids.iter().filter_map(|pid| read_process(*pid)).collect();
    let of: Vec<(u32, Option<String>)> =
        found.iter().map(|process| (parent(process.pid), process.service.clone())).collect();
    for process in found.iter_mut().filter(|process| process.kind == Kind::Shim) {
        process.service =
            of.iter().find(|(parent, _)| *parent == process.pid).and_then(|(_, service)| service.clone());
    }
    found
}

fn read_process(pid: u32) -> Option<Process> {
    let name = name(pid);
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let kind = match name.as_str() {
        "orchestratord" => Kind::Daemon,
        "shim-template" => Kind::Zygote,
        "service-shim" => Kind::Shim,
        "chaos-service" if words.iter().any(|word| word == "child" || word == "detach") => Kind::Child,
        "chaos-service" => Kind::Service,
        _ => return None,
    };
    let service = matches!(kind, Kind::Service | Kind::Child).then(|| words.get(2).cloned()).flatten();
    Some(Process { pid, kind, name, service })
}

fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split(' ').nth(1).and_then(|parent| parent.parse().ok()).unwrap_or(0)
}

/// Describes a process, with its state letter.
pub(crate) fn describe(process: &Process) -> String {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    let state = stat.rsplit_once(") ").map_or("?", |(_, fields)| &fields[..1]);
    format!("{} {} {state} of {}", process.pid, process.name, process.service.as_deref().unwrap_or("-"))
}
