//! `service status`.

use super::completion::completes;
use super::query::Query;
use super::signature::selecting;
use crate::plugin::ServicePlugin;
use crate::printable::print_notes;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, PipelineMetadata, Signature, Type, Value};
use service_api::{routes, view};
use service_client::client::Client;
use service_nushell::table::{Row, table};

pub(super) struct StatusCommand;

impl PluginCommand for StatusCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service status"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
            .switch("long", "All columns", Some('l'))
            .switch("no-start", "Start no daemon; without one the command fails", None)
            .switch("quiet", "Print no notes about the project on standard error", Some('q'))
    }

    fn description(&self) -> &'static str {
        "Show the state, health, process, uptime and memory of services."
    }

    fn extra_description(&self) -> &'static str {
        "`status` is running, stopped, failed or unknown. `state` is more detailed: stopped, waiting, \
         starting, ready, stopping, backoff, completed, failed or unknown (`service why` explains the cause). \
         `health` is healthy, unhealthy, alive (runs without a health check), pending or none. `uptime` is in \
         whole minutes from ten minutes on, in hours from a day on and in days from a week on; with --long it \
         is exact. On a narrow terminal Nushell omits the last columns: `service status | reject status pid` \
         makes room for them. Notes about the project itself, for example that its file is invalid, appear on \
         standard error. With rows of `service projects` as input the command shows the services of these \
         projects, with a column `project`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ps", "state", "running", "uptime", "systemctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service status",
                description: "Show all services of the project",
                result: None,
            },
            Example {
                example: "service status | where health != healthy",
                description: "Show services that are not healthy",
                result: None,
            },
            Example {
                example: "service status --long | sort-by cpu --reverse | first 3",
                description: "Show the three services with the highest CPU use",
                result: None,
            },
            Example {
                example: "[] | service status",
                description: "An empty pipe selects no service",
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
        let Some(reading) = Query::open(plugin, engine, call, input)? else {
            return Ok(table::<view::Status>(Vec::new(), call.head));
        };
        let Query { selection, session } = reading;
        let names = selection.joined();
        let long = if call.has_flag("long")? { "true" } else { "false" };
        let question = move |client: &Client| {
            client.get_with_notes(routes::STATUS, &[("names", &names), ("long", long)])
        };
        let kept: &[&str] =
            if long == "true" { &["name", "state", "reason"] } else { view::Status::PRIORITY_COLUMNS };
        let (rows, notes): (Vec<view::Status>, Vec<String>) = match call.has_flag("no-start")? {
            true => session.request_running(question)?,
            false => session.request(question)?,
        };
        if !call.has_flag("quiet")? {
            print_notes(&notes);
        }
        let metadata = PipelineMetadata::default().with_table_width_priority_columns(call.head, kept);
        Ok(table(rows, call.head).set_metadata(Some(metadata)))
    }

    completes!(All);
}
