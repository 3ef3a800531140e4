//! `service events`.

use super::names::completes;
use super::reading::Reading;
use super::selecting;
use crate::ServicePlugin;
use crate::follow::Follower;
use crate::since::since;
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
    }

    fn description(&self) -> &'static str {
        "Show what happened to services: starts, ends, health, definitions."
    }

    fn extra_description(&self) -> &'static str {
        "`event` is state, health, defined, changed or removed; daemon, when the daemon began or ended (`from` lost: \
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
        if call.has_flag("follow")? {
            let names = reading.names();
            let rows = Follower::new(reading.session, names, since).rows()?;
            let metadata = metadata::<Event>(call.head);
            return Ok(rows.into_pipeline_data_with_metadata(call.head, engine.signals().clone(), metadata));
        }
        let from = since.map_or_else(|| ("limit", USUAL.to_owned()), |since| ("since", since));
        let rows: Vec<Event> = reading.ask(routes::EVENTS, vec![from])?;
        Ok(table(rows, call.head))
    }

    completes!(All);
}
