//! `service projects`.

use super::signature::category;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, ShellError, Signature, Span, Type, Value, record};
use service_api::{Code, Problem, routes, view};
use service_client::client::Clients;
use service_client::{launch, orchestratord};
use service_nushell::error::labeled_at;
use service_nushell::interruptible::{Worker, WorkerEvent};
use service_nushell::shell;
use service_nushell::table::{Row, count, integer, string, table};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The time limit for a daemon's response.
const DAEMON_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) struct ProjectsCommand;

impl PluginCommand for ProjectsCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service projects"
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .category(category())
            .switch(
                "long",
                "Also show the socket of the daemon, the state directory, and what cannot be read there",
                Some('l'),
            )
            .switch("prune", "Delete the state of projects without a file and without running services", None)
            .input_output_type(Type::Nothing, Type::table())
    }

    fn description(&self) -> &'static str {
        "List your projects with running services or without a file."
    }

    fn extra_description(&self) -> &'static str {
        "The rows are the projects with a daemon or with running services, and those whose services.toml no \
         longer exists or may not exist. `file` is `present`, `gone` or `unknown`; it is `unknown` on a disk \
         that is not mounted, and with a state directory that cannot be read (see `note` of --long). The rows \
         can be piped into `service status`, `stop --all`, `logs`, `why`, `daemon stop` and others, which \
         then apply to these projects. --prune deletes the state, logs and events of projects without a file \
         and without running services, and returns the deleted projects. `daemon` is `running`, `hangs` (no \
         answer within half a second) or `none`. Without a daemon `up` counts the services under a shim and \
         the running containers, and is empty if a container engine did not answer within 0.3 seconds. The \
         next command in such a project starts a daemon that adopts the services. Projects with their state \
         in another XDG_STATE_HOME are not listed."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["all", "machine", "daemons", "ps"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service projects | where failed > 0",
                description: "Show projects with failed services",
                result: None,
            },
            Example {
                example: "service projects | service status",
                description: "Show the services of all projects",
                result: None,
            },
            Example {
                example: "service projects | where file == gone | service stop --all",
                description: "Stop the services of projects whose directory was removed or renamed",
                result: None,
            },
            Example {
                example: "service projects --prune",
                description: "Delete the state of projects that no longer exist",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let (clients, caller) = (Arc::clone(&plugin.clients), shell::caller(engine));
        if call.has_flag("prune")? {
            let pruned = shell::caller(engine)
                .and_then(orchestratord::prune)
                .map_err(|problem| labeled_at(&problem, call.head))?;
            return Ok(table(pruned, call.head));
        }
        let worker = Worker::spawn(engine, move |sender| {
            let projects = caller.and_then(orchestratord::projects);
            sender.send(projects.map(|projects| inspect(projects, &clients)));
        })?;
        match worker.receive(None) {
            WorkerEvent::Item(Ok(rows)) if call.has_flag("long")? => {
                Ok(table(rows.into_iter().map(Long).collect(), call.head))
            }
            WorkerEvent::Item(Ok(rows)) => Ok(table(rows, call.head)),
            WorkerEvent::Item(Err(problem)) => Err(labeled_at(&problem, call.head)),
            WorkerEvent::Interrupted => Err(ShellError::Interrupted { span: call.head }.into()),
            WorkerEvent::Finished | WorkerEvent::TimedOut => {
                Err(labeled_at(&Problem::new(Code::Internal, "the plugin lost the result"), call.head))
            }
        }
    }
}

/// A project and the status of its daemon.
struct InspectedProject {
    project: view::ProjectSummary,
    status: Option<Vec<view::Status>>,
}

/// Requests the status of all daemons, concurrently.
fn inspect(projects: Vec<view::ProjectSummary>, clients: &Clients) -> Vec<InspectedProject> {
    let ask = |project: &view::ProjectSummary| -> Option<Vec<view::Status>> {
        let client = launch::client_at(Path::new(project.socket.as_ref()?), clients).ok()?;
        client.with_timeout(DAEMON_TIMEOUT).get(routes::STATUS, &[]).ok()
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = projects
            .into_iter()
            .map(|project| scope.spawn(move || InspectedProject { status: ask(&project), project }))
            .collect();
        asked.into_iter().filter_map(|found| found.join().ok()).collect()
    })
}

/// A project with its paths, which are wide and rarely needed.
struct Long(InspectedProject);

impl Row for Long {
    const PRIORITY_COLUMNS: &'static [&'static str] = InspectedProject::PRIORITY_COLUMNS;

    fn into_row(self, span: Span) -> Value {
        let view::ProjectSummary { socket, state_dir, note, .. } = self.0.project.clone();
        let mut row = self.0.into_row(span).into_record().unwrap_or_default();
        row.push("socket", string(socket, span));
        row.push("state_dir", Value::string(state_dir, span));
        row.push("note", string(note, span));
        Value::record(row, span)
    }
}

impl Row for InspectedProject {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["path", "up", "failed", "file"];

    fn into_row(self, span: Span) -> Value {
        let Self { project, status } = self;
        let with = |word: &str| {
            let rows = status.as_ref()?.iter().filter(|row| row.status == word);
            Some(count(rows.count(), span))
        };
        let nothing = || Value::nothing(span);
        let daemon = match (&status, project.daemon) {
            (Some(_), _) => "running",
            (None, true) => "hangs",
            (None, false) => "none",
        };
        Value::record(
            record! {
                "path" => string(project.path, span),
                "file" => string(project.file, span),
                "daemon" => Value::string(daemon, span),
                "services" => status.as_ref().map_or_else(nothing, |rows| count(rows.len(), span)),
                "up" => with("running").unwrap_or_else(|| {
                    let up = project.kept + project.managed;
                    project.containers.map_or_else(nothing, |containers| count(up + containers, span))
                }),
                "failed" => with("failed").unwrap_or_else(nothing),
                "pid" => integer(project.pid, span),
            },
            span,
        )
    }
}
