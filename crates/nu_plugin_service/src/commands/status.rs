//! `service status`.

use super::names::completes;
use super::reading::Reading;
use super::signature::selecting;
use crate::client::Client;
use crate::plugin::ServicePlugin;
use crate::table::{Row, table};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, PipelineMetadata, Signature, Type, Value};
use service_api::printable::printable;
use service_api::{routes, view};

pub(super) struct Status;

impl PluginCommand for Status {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service status"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
            .switch("long", "All columns", Some('l'))
            .switch("no-start", "Start no daemon for it: where none runs that is an error", None)
            .switch("quiet", "Say nothing on standard error about the project", Some('q'))
    }

    fn description(&self) -> &'static str {
        "Show how services are: state, health, process, uptime, memory."
    }

    fn extra_description(&self) -> &'static str {
        "`status` is running, stopped, failed or unknown; `state` says it finely: stopped, waiting, starting, ready, \
         stopping, backoff, completed, failed or unknown (`service why` tells what keeps it from being known). `health` is healthy, unhealthy, alive (no check is defined), pending or none. `uptime` is whole minutes \
         from ten minutes on, hours from a day on and days from a week on; with --long it is exact. Where a terminal is too narrow for all columns Nushell leaves out the last: \
         `service status | reject status pid` makes room for them. What is the matter with the project itself (its file is gone or wrong, its \
         directory was renamed) is said on standard error. Rows of `service projects` may be piped in: then the services of \
         those are shown, with a column `project`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ps", "state", "running", "uptime", "systemctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "service status", description: "All services of the project", result: None },
            Example {
                example: "service status | where health != healthy",
                description: "What needs attention",
                result: None,
            },
            Example {
                example: "service status --long | sort-by cpu --reverse | first 3",
                description: "The three busiest services",
                result: None,
            },
            Example {
                example: "[] | service status",
                description: "An empty pipe asks about nothing",
                result: Some(Value::test_list(vec![])),
            },
        ]
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let Some(reading) = Reading::open(plugin, engine, call, input)? else {
            return Ok(table::<view::Status>(Vec::new(), call.head));
        };
        let Reading { selection, session } = reading;
        let names = selection.joined();
        let long = if call.has_flag("long")? { "true" } else { "false" };
        let question =
            move |client: &Client| client.noted(routes::STATUS, &[("names", &names), ("long", long)]);
        let kept: &[&str] = if long == "true" { &["name", "state", "reason"] } else { view::Status::KEPT };
        let (rows, notes): (Vec<view::Status>, Vec<String>) = match call.has_flag("no-start")? {
            true => session.ask_running(question)?,
            false => session.ask(question)?,
        };
        if !call.has_flag("quiet")? {
            for note in &notes {
                eprintln!("note: {}", printable(note));
            }
        }
        let metadata = PipelineMetadata::default().with_table_width_priority_columns(call.head, kept);
        Ok(table(rows, call.head).set_metadata(Some(metadata)))
    }

    completes!(All);
}
