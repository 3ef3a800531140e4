//! `service history`.

use super::completion::completes;
use super::query::{Query, keep_last, tail};
use super::signature::selecting;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use service_api::event::{HistoryEntry, StartRecord};
use service_api::routes;
use service_nushell::since::since;
use service_nushell::table::{Row, table};

pub(super) struct HistoryCommand;

impl PluginCommand for HistoryCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service history"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
            .switch(
                "starts",
                "One row for each start, with the awaited dependency, the wait and the \
                               duration",
                None,
            )
            .named(
                "since",
                SyntaxShape::Any,
                "Rows since then: a duration before now, a datetime, or the number of an event (default: \
                 all)",
                Some('s'),
            )
            .named("tail", SyntaxShape::Int, "Only the last N rows", Some('n'))
    }

    fn description(&self) -> &'static str {
        "Show the events and health check results of services, for analysis."
    }

    fn extra_description(&self) -> &'static str {
        "`kind` is check, or the kind of an event: state, health, defined, changed, removed. Rows of checks \
         have `healthy` and `latency`, and a `message` if the check failed. Only the last of the checks \
         during a start is retained. With --starts, follow `waited_for` from the last ready service to find \
         the critical path. The command starts no daemon."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["journal", "latency", "transitions", "critical path", "uptime", "statistics"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service history --since 1day | where kind == check | group-by service --to-table | insert latency {|it| $it.items.latency | math avg }",
                description: "Show the mean latency of each service's health checks today",
                result: None,
            },
            Example {
                example: "service history web-app | where exit_code != null | select time run exit_code",
                description: "Show the exits of a service's runs",
                result: None,
            },
            Example {
                example: "service history --starts --since 10min | sort-by took --reverse",
                description: "Show the slowest starts",
                result: None,
            },
            Example {
                example: "[] | service history",
                description: "An empty pipe has no history",
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
        match call.has_flag("starts")? {
            true => rows::<StartRecord>(plugin, engine, call, input, &["starts"]),
            false => rows::<HistoryEntry>(plugin, engine, call, input, &[]),
        }
    }

    completes!(All);
}

fn rows<R: Row + serde::de::DeserializeOwned + Send + 'static>(
    plugin: &ServicePlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
    input: PipelineData,
    switches: &[&'static str],
) -> Result<PipelineData, LabeledError> {
    let Some(reading) = Query::open(plugin, engine, call, input)? else {
        return Ok(table::<R>(Vec::new(), call.head));
    };
    let switches = switches.iter().map(|switch| (*switch, "true".to_owned()));
    let since = since(call)?.map(|since| ("since", since));
    let tail = tail(call)?;
    let rows: Vec<R> = reading.fetch(routes::HISTORY, switches.chain(since).collect())?;
    Ok(table(keep_last(tail, rows), call.head))
}
