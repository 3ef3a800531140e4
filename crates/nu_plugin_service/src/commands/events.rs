//! `service events`.

use super::completion::completes;
use super::query::{Query, keep_last, tail};
use super::signature::selecting;
use crate::event_stream::EventStream;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Example, IntoInterruptiblePipelineData, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value,
};
use service_api::{Event, routes};
use service_nushell::error::invalid_call;
use service_nushell::since::since;
use service_nushell::table::events::Long;
use service_nushell::table::{metadata, table};

/// The default number of events.
const USUAL: &str = "100";

pub(super) struct EventsCommand;

impl PluginCommand for EventsCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service events"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
            .switch("follow", "Show new events as they happen, until ctrl-c", Some('f'))
            .named(
                "since",
                SyntaxShape::Any,
                "Events since then: a duration before now, a datetime, or the number of the last known event \
                 (default: the last 100)",
                Some('s'),
            )
            .named("tail", SyntaxShape::Int, "Only the last N events", Some('n'))
            .switch("long", "All columns: also cause, run, exit and awaited dependency", Some('l'))
            .named(
                "by",
                SyntaxShape::String,
                "Events by cause: user, hook, token, policy, program or daemon, or words such as a name or \
                 `pid 7`",
                Some('b'),
            )
    }

    fn description(&self) -> &'static str {
        "Show the events of services: starts, exits, health, definitions."
    }

    fn extra_description(&self) -> &'static str {
        "`by`, which --long and --by show, is the cause: a user with the process, the hook, a token with its \
         address, a policy of the service, or the daemon. `event` is state, health, defined, changed or \
         removed for a service; daemon for the start or end of a daemon (`from` is lost if the previous \
         daemon was killed); journal if events could not be written. Numbers are never assigned twice. With \
         --follow the stream continues across a restart of the daemon, without gap or duplicate. The command \
         starts no daemon."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["journal", "watch", "transitions", "what happened", "alert", "stream"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service events --since 1hr | where to == failed",
                description: "Show the failures of the last hour",
                result: None,
            },
            Example {
                example: "service events --follow | where event == health and to == unhealthy | each {|it| print $'($it.service) is unhealthy' }",
                description: "Print a line when a service becomes unhealthy",
                result: None,
            },
            Example {
                example: "service events web-app --by user | select time to by",
                description: "Show who started and stopped the service",
                result: None,
            },
            Example {
                example: "service events --tail 10",
                description: "Show the last ten events",
                result: None,
            },
            Example {
                example: "service events --since 17",
                description: "Show all events after 17; an error if some of them were deleted",
                result: None,
            },
            Example {
                example: "[] | service events",
                description: "An empty pipe has no events",
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
            return Ok(table::<Event>(Vec::new(), call.head));
        };
        let since = since(call)?;
        let by = call.get_flag::<String>("by")?.filter(|by| !by.is_empty());
        // A filter by actor also shows the column `by`.
        let long = call.has_flag("long")? || by.is_some();
        if call.has_flag("follow")? {
            if let Some(tail) = call.get_flag_value("tail") {
                return Err(invalid_call(
                    "bad_request",
                    "cannot combine `--follow` and `--tail`",
                    "a followed stream has no end",
                    tail.span(),
                )
                .with_help("use `--since` to begin earlier"));
            }
            let names = reading.names();
            let rows = EventStream::new(reading.session, names, since, by).rows(long)?;
            let metadata = if long { metadata::<Long>(call.head) } else { metadata::<Event>(call.head) };
            return Ok(rows.into_pipeline_data_with_metadata(call.head, engine.signals().clone(), metadata));
        }
        let tail = tail(call)?;
        let last = || tail.map_or_else(|| USUAL.to_owned(), |tail| tail.to_string());
        let from = since.map_or_else(|| ("limit", last()), |since| ("since", since));
        let asked = std::iter::once(from).chain(by.map(|by| ("by", by))).collect();
        let rows: Vec<Event> = keep_last(tail, reading.fetch(routes::EVENTS, asked)?);
        Ok(match long {
            true => table(rows.into_iter().map(Long).collect(), call.head),
            false => table(rows, call.head),
        })
    }

    completes!(All);
}
