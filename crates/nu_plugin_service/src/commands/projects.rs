//! `service projects`.

use super::signature::category;
use crate::cancel::{Heard, Worker};
use crate::client::Clients;
use crate::error::labeled_at;
use crate::plugin::ServicePlugin;
use crate::table::{Row, count, integer, string, table};
use crate::{launch, orchestratord};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, ShellError, Signature, Span, Type, Value, record};
use service_api::project::gone::Pruned;
use service_api::{Code, Problem, routes, view};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A daemon that does not answer within this hangs.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Projects;

impl PluginCommand for Projects {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service projects"
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .category(category())
            .switch("long", "With the socket of the daemon and the directory of the state", Some('l'))
            .switch(
                "prune",
                "Remove the state of projects whose file is gone and of which nothing runs",
                None,
            )
            .input_output_type(Type::Nothing, Type::table())
    }

    fn description(&self) -> &'static str {
        "List every project of yours that something runs of, or whose file is gone."
    }

    fn extra_description(&self) -> &'static str {
        "That is, those with a daemon or with services that are kept running, and those of whose services.toml only the \
         state is left. `file` is `present`, `gone`, or `unknown` where that cannot be told, as on a disk that is not \
         mounted. Rows can be piped into `service status`, `stop --all`, `logs`, `why`, `daemon stop` and others, which are \
         then about those projects. With --prune, what is left of projects whose file is gone and of which nothing runs \
         is removed, with logs and events, and the rows say what was. `daemon` is `running`, `hangs` (it did \
         not answer within half a second) or `none`: then `up` counts the services that are kept all the same and the \
         containers that run, and the next command in that project starts a daemon that takes them over; it is empty \
         where a container engine did not answer within 0.3 seconds. Projects whose state is in another \
         XDG_STATE_HOME are not seen."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["all", "machine", "daemons", "ps"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service projects | where failed > 0",
                description: "Where something has failed",
                result: None,
            },
            Example {
                example: "service projects | service status",
                description: "The services of all projects",
                result: None,
            },
            Example {
                example: "service projects | where file == gone | service stop --all",
                description: "Stop what runs of projects whose directory was removed or renamed",
                result: None,
            },
            Example {
                example: "service projects --prune",
                description: "Remove the state of projects that are gone",
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
        let (clients, shell) = (Arc::clone(&plugin.clients), engine.clone());
        if call.has_flag("prune")? {
            let pruned = orchestratord::prune(engine).map_err(|problem| labeled_at(&problem, call.head))?;
            return Ok(table(pruned, call.head));
        }
        let worker = Worker::spawn(engine, move |mouth| {
            mouth.say(orchestratord::projects(&shell).map(|traces| look(traces, &clients)));
        })?;
        match worker.hear(None) {
            Heard::Said(Ok(rows)) if call.has_flag("long")? => {
                Ok(table(rows.into_iter().map(Long).collect(), call.head))
            }
            Heard::Said(Ok(rows)) => Ok(table(rows, call.head)),
            Heard::Said(Err(problem)) => Err(labeled_at(&problem, call.head)),
            Heard::Interrupted => Err(ShellError::Interrupted { span: call.head }.into()),
            Heard::Over | Heard::Late => {
                Err(labeled_at(&Problem::new(Code::Internal, "the plugin lost the answer"), call.head))
            }
        }
    }
}

/// One project, and what its daemon said.
struct Found {
    trace: view::Trace,
    status: Option<Vec<view::Status>>,
}

/// Asks every daemon at the same time.
fn look(traces: Vec<view::Trace>, clients: &Clients) -> Vec<Found> {
    let ask = |trace: &view::Trace| -> Option<Vec<view::Status>> {
        let client = launch::at(Path::new(trace.socket.as_ref()?), clients).ok()?;
        client.within(PATIENCE).get(routes::STATUS, &[]).ok()
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = traces
            .into_iter()
            .map(|trace| scope.spawn(move || Found { status: ask(&trace), trace }))
            .collect();
        asked.into_iter().filter_map(|found| found.join().ok()).collect()
    })
}

/// With the paths that few need, and that leave no room for the others.
struct Long(Found);

impl Row for Long {
    const KEPT: &'static [&'static str] = Found::KEPT;

    fn row(self, span: Span) -> Value {
        let (socket, state_dir) = (self.0.trace.socket.clone(), self.0.trace.state_dir.clone());
        let mut row = self.0.row(span).into_record().unwrap_or_default();
        row.push("socket", string(socket, span));
        row.push("state_dir", Value::string(state_dir, span));
        Value::record(row, span)
    }
}

impl Row for Found {
    const KEPT: &'static [&'static str] = &["path", "up", "failed", "file"];

    fn row(self, span: Span) -> Value {
        let Self { trace, status } = self;
        let with = |word: &str| {
            let rows = status.as_ref()?.iter().filter(|row| row.status == word);
            Some(count(rows.count(), span))
        };
        let nothing = || Value::nothing(span);
        let daemon = match (&status, trace.daemon) {
            (Some(_), _) => "running",
            (None, true) => "hangs",
            (None, false) => "none",
        };
        Value::record(
            record! {
                "path" => string(trace.path, span),
                "file" => string(trace.file, span),
                "daemon" => Value::string(daemon, span),
                "services" => status.as_ref().map_or_else(nothing, |rows| count(rows.len(), span)),
                "up" => with("running").unwrap_or_else(|| {
                    let up = trace.kept + trace.managed;
                    trace.containers.map_or_else(nothing, |containers| count(up + containers, span))
                }),
                "failed" => with("failed").unwrap_or_else(nothing),
                "pid" => integer(trace.pid, span),
            },
            span,
        )
    }
}

impl Row for Pruned {
    const KEPT: &'static [&'static str] = &["path"];

    fn row(self, span: Span) -> Value {
        Value::record(
            record! {
                "path" => Value::string(self.path, span),
                "size" => Value::filesize(i64::try_from(self.size).unwrap_or(i64::MAX), span),
                "removed" => Value::bool(self.error.is_none(), span),
                "error" => string(self.error, span),
                "state_dir" => Value::string(self.state_dir, span),
            },
            span,
        )
    }
}
