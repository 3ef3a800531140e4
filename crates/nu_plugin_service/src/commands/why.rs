//! `service why`.

use super::names::completes;
use crate::ServicePlugin;
use crate::client::path_of;
use crate::error::refusal;
use crate::selector::Selection;
use crate::session::Session;
use crate::table::Row;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, IntoPipelineData, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use service_api::{routes, view};

pub(super) struct Why;

impl PluginCommand for Why {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service why"
    }

    fn signature(&self) -> Signature {
        super::signature(self.name())
            .rest(
                "name",
                SyntaxShape::String,
                "The service; or pipe in its name, or a row with a `name` column",
            )
            .input_output_types(super::inputs().map(|input| (input, Type::record())).collect())
    }

    fn description(&self) -> &'static str {
        "Explain why a service is as it is, and what would help."
    }

    fn extra_description(&self) -> &'static str {
        "`summary` says it in one sentence, `help` has the command that would help now; there is none when all is well. \
         What does not apply is null: waits_for, last_check, exit, port_holder, next_retry."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["explain", "diagnose", "reason", "cause", "debug"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "service why web-app", description: "Explain one service", result: None },
            Example {
                example: "service status | where state == failed | each {|it| service why $it.name } | select name summary help",
                description: "Explain all that failed",
                result: None,
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
        let selection = Selection::read(plugin, engine, call, input)?;
        let name = match selection.names() {
            [name] => name.item.clone(),
            [] => {
                return Err(refusal("no_names", "no service is named", "which service?", call.head)
                    .with_help("name one, as in `service why web-app`"));
            }
            [_, second, ..] => {
                return Err(refusal(
                    "bad_request",
                    "cannot explain several at once",
                    "one too many",
                    second.span,
                )
                .with_help("`[a b] | each {|name| service why $name }`"));
            }
        };
        let session = Session::open(plugin, engine, call, &selection)?;
        let why: view::Why =
            session.ask(move |client| client.get(&path_of(routes::SERVICE_WHY, &name), &[]))?;
        Ok(why.row(call.head).into_pipeline_data())
    }

    completes!(All);
}
