//! `service events`.

use super::names::completes;
use super::reading::{Reading, last_of, tail};
use super::signature::selecting;
use crate::error::refusal;
use crate::follow::Follower;
use crate::plugin::ServicePlugin;
use crate::since::since;
use crate::table::events::Long;
use crate::table::{metadata, table};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Example, IntoInterruptiblePipelineData, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value,
};
use service_api::{Event, routes};

/// How many events, unless something else is asked for.
const USUAL: &str = "100";

pub(super) struct Events;

impl PluginCommand for Events {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service events"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
            .switch("follow", "What happens from now on, as it happens, until ctrl-c", Some('f'))
            .named(
                "since",
                SyntaxShape::Any,
                "From then on: a duration back from now, a datetime, or the number of the last event you have (default: the last 100)",
                Some('s'),
            )
            .named("tail", SyntaxShape::Int, "Only so many of the last of them", Some('n'))
            .switch("long", "With who brought it about, the number of the run, how it ended and what it waited for", Some('l'))
            .named(
                "by",
                SyntaxShape::String,
                "What somebody brought about: user, hook, token, policy, program or daemon, or words such as a name or `pid 7`",
                Some('b'),
            )
    }

    fn description(&self) -> &'static str {
        "Show what happened to services: starts, ends, health, definitions."
    }

    fn extra_description(&self) -> &'static str {
        "`by`, which --long and --by show, says who: a user with the process, the hook, a token with its address, a policy of the service, or the daemon. \
         `event` is state, health, defined, changed or removed; daemon, when the daemon began or ended (`from` lost: \
         the one before was killed); journal, when events could not be written down. Numbers are never given twice. \
         With --follow the stream goes on over a restart of the daemon, without gap or duplicate. No daemon is started \
         for it."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["journal", "watch", "transitions", "what happened", "alert", "stream"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service events --since 1hr | where to == failed",
                description: "What failed in the last hour",
                result: None,
            },
            Example {
                example: "service events --follow | where event == health and to == unhealthy | each {|it| print $'($it.service) is unhealthy' }",
                description: "Tell when something becomes unhealthy",
                result: None,
            },
            Example {
                example: "service events web-app --by user | select time to by",
                description: "Who has started and stopped it",
                result: None,
            },
            Example { example: "service events --tail 10", description: "The last ten", result: None },
            Example {
                example: "service events --since 17",
                description: "All after event 17, or an error if not all of them are kept any more",
                result: None,
            },
            Example {
                example: "[] | service events",
                description: "Nothing happens to an empty pipe",
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
            return Ok(table::<Event>(Vec::new(), call.head));
        };
        let since = since(call)?;
        let by = call.get_flag::<String>("by")?.filter(|by| !by.is_empty());
        // Who asks for somebody wants to see whom.
        let long = call.has_flag("long")? || by.is_some();
        if call.has_flag("follow")? {
            if let Some(tail) = call.get_flag_value("tail") {
                return Err(refusal(
                    "bad_request",
                    "cannot follow and show the last as well",
                    "what is followed has no last",
                    tail.span(),
                )
                .with_help("say `--since` to begin earlier"));
            }
            let names = reading.names();
            let rows = Follower::new(reading.session, names, since, by).rows(long)?;
            let metadata = if long { metadata::<Long>(call.head) } else { metadata::<Event>(call.head) };
            return Ok(rows.into_pipeline_data_with_metadata(call.head, engine.signals().clone(), metadata));
        }
        let tail = tail(call)?;
        let last = || tail.map_or_else(|| USUAL.to_owned(), |tail| tail.to_string());
        let from = since.map_or_else(|| ("limit", last()), |since| ("since", since));
        let asked = std::iter::once(from).chain(by.map(|by| ("by", by))).collect();
        let rows: Vec<Event> = last_of(tail, reading.ask(routes::EVENTS, asked)?);
        Ok(match long {
            true => table(rows.into_iter().map(Long).collect(), call.head),
            false => table(rows, call.head),
        })
    }

    completes!(All);
}
