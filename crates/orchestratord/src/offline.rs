//! Answers from the files of a project, without a daemon.

use crate::containers;
use service_api::event::{HistoryEntry, StartRecord};
use service_api::project::{self, Environment};
use service_api::{Event, Problem, Project, StartupMessage, view};
use service_config::load::{self, Additions};
use service_core::config::Manager;
use service_core::{Id, Name, Plan};
use service_host::disk::Disk;
use service_host::paths::files_in;
use service_orchestrator::graph_format;
use service_orchestrator::lookup::resolve;
use service_orchestrator::renamed_project::{self, FilePresence};
use service_orchestrator::views;
use service_process::liveness::{boot, count_supervised, entries, has_shim};
use service_store::journal::{EventQuery, Since, offline as journal};
use service_store::{self as store, RunDefinitions};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The plan that the next daemon would start with.
fn plan(project: &Project) -> Result<Plan, Problem> {
    let boot = service_shim::process::boot_id().unwrap_or_default();
    load::plan_with(&project.config, &Additions::current(&project.state_dir, &boot))
}

/// The definitions of the services.
pub(crate) fn list(project: &Project) -> Result<Vec<view::Service>, Problem> {
    plan(project).map(|plan| views::services(&plan))
}

/// The start order of these services, or of all.
pub(crate) fn order(project: &Project, names: &[String]) -> Result<Vec<view::Step>, Problem> {
    let plan = plan(project)?;
    let ids = resolve(&plan, names)?;
    Ok(views::steps(&plan, &ids))
}

/// The selected rows of the journal.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowSelection {
    /// The services of the rows; if empty, all services and the daemon.
    pub names: Vec<String>,
    /// The number or the time after which rows are selected.
    pub since: Option<String>,
    /// The maximum number of events: the first events with `since`, else the last events.
    pub limit: Option<usize>,
    /// Events caused by an actor of this kind, or with this text.
    pub by: Option<String>,
}

impl RowSelection {
    fn event_query(&self, project: &Project) -> Result<EventQuery, Problem> {
        if let Some(names) = (!self.names.is_empty()).then_some(&self.names) {
            let known = journal::events(&project.state_dir, &EventQuery::default())?;
            let has_past = |name: &String| known.iter().any(|event| event.service.as_ref() == Some(name));
            if !names.iter().all(has_past) {
                resolve(&plan(project)?, names)?;
            }
        }
        let since = self.since.as_deref().map(str::parse::<Since>).transpose()?;
        Ok(EventQuery { names: self.names.clone(), since, limit: self.limit, by: self.by.clone() })
    }
}

/// The numbered events.
pub(crate) fn events(project: &Project, asked: &RowSelection) -> Result<Vec<Event>, Problem> {
    journal::events(&project.state_dir, &asked.event_query(project)?)
}

/// Events of services, and results of checks.
pub(crate) fn history(project: &Project, asked: &RowSelection) -> Result<Vec<HistoryEntry>, Problem> {
    journal::history(&project.state_dir, &asked.event_query(project)?)
}

/// The critical path of starts.
pub(crate) fn starts(project: &Project, asked: &RowSelection) -> Result<Vec<StartRecord>, Problem> {
    journal::starts(&project.state_dir, &asked.event_query(project)?)
}

/// The graph of these services with all their dependencies, or of all services, with the states that are known without
/// a daemon.
pub(crate) fn graph(project: &Project, names: &[String]) -> Result<Vec<view::Node>, Problem> {
    let plan = plan(project)?;
    let ids = resolve(&plan, names)?;
    let boot = boot();
    let state = |id: Id| {
        let service = plan.service(id);
        // The state of a service with a manager or a shim is unknown, because it was not queried.
        let supervised = || has_shim(&files_in(&project.state_dir, &service.name), boot.as_deref());
        if service.manager != Manager::Process || supervised() { "unknown" } else { "stopped" }
    };
    Ok(views::graph(&plan, &ids, state))
}

/// A drawing of the graph.
pub(crate) fn drawing(project: &Project, names: &[String], format: &str) -> Result<String, Problem> {
    graph_format::draw(format, &graph(project, names)?)
}

/// Whether services of a project run according to its state directory; unknown counts as running.
pub(crate) fn is_anything_running(state_dir: &Path) -> bool {
    count_supervised(state_dir, boot().as_deref()) > 0
        || manager_services(state_dir).map_or(true, |names| !names.is_empty())
}

/// The services of managers that were up when the last daemon ended, according to its files, with their managers.
pub(crate) fn manager_services(state_dir: &Path) -> io::Result<BTreeMap<Name, Manager>> {
    let boot = service_shim::process::boot_id()?;
    let definitions = RunDefinitions::open(state_dir, Disk::default())?;
    let managed = |name: Name| {
        let manager = definitions.last_manager(&name).filter(|manager| *manager != Manager::Process)?;
        Some((name, manager))
    };
    Ok(store::were_up(state_dir, &boot)?.into_iter().filter_map(managed).collect())
}

/// Whether services of the project with this state directory run or may run.
pub(crate) fn runs(state_dir: &Path) -> bool {
    inspect_state_directories(vec![state_dir.to_path_buf()]).iter().any(view::ProjectSummary::runs)
}

/// The projects of this user that have a daemon, shims or containers, that have no file, or whose state directory
/// cannot be read.
pub(crate) fn projects(around: &Environment<'_>) -> Result<Vec<view::ProjectSummary>, Problem> {
    let mut found =
        inspect_state_directories(entries(&project::states(around)?).filter(|path| path.is_dir()).collect());
    found.retain(|summary| {
        let is_gone = summary.file.as_deref() == Some(FilePresence::Gone.as_str());
        summary.daemon || summary.runs() || is_gone || summary.note.is_some()
    });
    found.sort_by(|one, other| (&one.path, &one.state_dir).cmp(&(&other.path, &other.state_dir)));
    Ok(found)
}

/// The summaries of these state directories. The container engines report the containers of projects without a daemon.
pub(crate) fn inspect_state_directories(state_dirs: Vec<PathBuf>) -> Vec<view::ProjectSummary> {
    let boot = boot();
    let mut found: Vec<view::ProjectSummary> =
        state_dirs.into_iter().map(|state_dir| inspect(&state_dir, boot.as_deref())).collect();
    let lost = |summary: &view::ProjectSummary| !summary.daemon && summary.path.is_some();
    let asked: Vec<(&str, &Path)> = found
        .iter()
        .filter(|summary| lost(summary))
        .filter_map(|summary| Some((summary.path.as_deref()?, Path::new(&summary.state_dir))))
        .collect();
    let answers = containers::running(&asked);
    for (summary, answer) in found.iter_mut().filter(|summary| lost(summary)).zip(answers) {
        summary.containers = answer;
    }
    found
}

fn inspect(state_dir: &Path, boot: Option<&str>) -> view::ProjectSummary {
    let daemon = project::gone::has_daemon(state_dir);
    let record = std::fs::read(state_dir.join(project::RECORD)).ok().filter(|_| daemon);
    let (pid, socket) = match record.and_then(|record| serde_json::from_slice(&record).ok()) {
        Some(StartupMessage::Ready { pid, socket }) => (Some(pid), Some(socket.display().to_string())),
        Some(StartupMessage::AlreadyRunning | StartupMessage::Failed(_)) | None => (None, None),
    };
    let path = std::fs::read(state_dir.join(project::NOTE)).ok().map(OsString::from_vec).map(PathBuf::from);
    view::ProjectSummary {
        file: path.as_deref().map(|path| FilePresence::check(path, state_dir).as_str().to_owned()),
        path: path.map(|path| path.display().to_string()),
        state_dir: state_dir.display().to_string(),
        daemon,
        pid,
        socket,
        containers: Some(0),
        managed: if daemon { 0 } else { managed(state_dir) },
        kept: count_supervised(state_dir, boot),
        note: renamed_project::unreadable(state_dir),
    }
}

/// The number of services of managers other than container engines. A service with an unknown state is counted as
/// managed.
fn managed(state_dir: &Path) -> usize {
    let is_other = |manager: &&Manager| !matches!(manager, Manager::BuiltIn(engine) if containers::ENGINES.contains(&engine.as_str()));
    manager_services(state_dir).map_or(1, |services| services.values().filter(is_other).count())
}
