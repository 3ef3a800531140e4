//! `service history`.

use super::names::completes;
use super::selecting;
use crate::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use crate::since::since;
use crate::table::{Row, table};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use service_api::event::{Past, Start};
use service_api::routes;

pub(super) struct History;

impl PluginCommand for History {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service history"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
            .switch("starts", "One row for each start: what it waited for, how long, and how long it took", None)
            .named(
                "since",
                SyntaxShape::Any,
                "From then on: a duration back from now, a datetime, or the number of an event (default: all that is kept)",
                Some('s'),
            )
    }

    fn description(&self) -> &'static str {
        "Show what happened to services and what their health checks said, for analysis."
    }

    fn extra_description(&self) -> &'static str {
        "`kind` is check, or the word of an event: state, health, defined, changed, removed. Checks have `healthy` and \
         `latency`, and a `message` if they failed; of the checks during a start the last is kept. With --starts follow \
         `waited_for` from the service that was ready last to see which way decided. No daemon is started for it."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["journal", "latency", "transitions", "critical path", "uptime", "statistics"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service history --since 1day | where kind == check | group-by service --to-table | insert latency {|it| $it.items.latency | math avg }",
                description: "How fast each service answered its checks today",
                result: None,
            },
            Example {
                example: "service history web-app | where exit_code != null | select time run exit_code",
                description: "How the runs of a service ended",
                result: None,
            },
            Example {
                example: "service history --starts --since 10min | sort-by took --reverse",
                description: "Which start took longest",
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
        if call.has_flag("starts")? {
            rows::<Start>(plugin, engine, call, input, &["--starts"])
        } else {
            rows::<Past>(plugin, engine, call, input, &[])
        }
    }

    completes!(All);
}

fn rows<R: Row + serde::de::DeserializeOwned + Send + 'static>(
    plugin: &ServicePlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
    input: PipelineData,
    options: &[&str],
) -> Result<PipelineData, LabeledError> {
    let selection = Selection::read(call, input)?;
    let since = since(call)?;
    if selection.is_empty() {
        return Ok(table::<R>(Vec::new(), call.head));
    }
    let session = Session::open(plugin, engine, call, selection.names())?;
    let starts = if options.is_empty() { "" } else { "true" };
    let options = std::iter::once("history").chain(options.iter().copied()).map(str::to_owned);
    let since_option = since.iter().flat_map(|since| ["--since".to_owned(), since.clone()]);
    let names = selection.names().iter().map(|name| name.item.clone());
    let words = options.chain(since_option).chain(names).collect();
    let names = selection.joined();
    let rows: Vec<R> = session.read(
        move |client| {
            let since = since.as_deref().unwrap_or_default();
            client.get(routes::HISTORY, &[("names", &names), ("since", since), ("starts", starts)])
        },
        words,
    )?;
    Ok(table(rows, call.head))
}
