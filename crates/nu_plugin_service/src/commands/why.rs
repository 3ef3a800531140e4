//! `service why`.

use super::completion::completes;
use crate::plugin::ServicePlugin;
use crate::printable::print_notes;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, IntoPipelineData, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use service_api::{routes, view};
use service_client::client::service_path;
use service_nushell::error::invalid_call;
use service_nushell::table::{Row, table};

pub(super) struct WhyCommand;

impl PluginCommand for WhyCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service why"
    }

    fn signature(&self) -> Signature {
        super::signature::signature(self.name())
            .rest(
                "name",
                SyntaxShape::String,
                "The service, or none for every service with a problem; or pipe in its name, or a row with a \
                 `name` column",
            )
            .input_output_types(super::signature::inputs().map(|input| (input, Type::Any)).collect())
    }

    fn description(&self) -> &'static str {
        "Explain the state of a service and the remedy; without a name, of every service with a problem."
    }

    fn extra_description(&self) -> &'static str {
        "`summary` is one sentence. `help` names the next step, and is null without a problem. Columns that \
         do not apply are null: waits_for, last_check, exit, port_holder, next_retry."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["explain", "diagnose", "reason", "cause", "debug"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "service why web-app", description: "Explain one service", result: None },
            Example {
                example: "service why | select name summary help",
                description: "Explain every service with a problem; no rows without one",
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
            // An empty pipe must never select all services.
            [] if selection.is_empty() => return Ok(table::<view::Why>(Vec::new(), call.head)),
            [] => {
                let session = Session::open(plugin, engine, call, &selection)?;
                let (all, notes): (Vec<view::Why>, Vec<String>) =
                    session.request(|client| client.get_with_notes(routes::WHY, &[]))?;
                print_notes(&notes);
                return Ok(table(all, call.head));
            }
            [_, second, ..] => {
                return Err(invalid_call(
                    "bad_request",
                    "cannot explain several services at once",
                    "only one is allowed",
                    second.span,
                )
                .with_help("`[a b] | each {|name| service why $name }`"));
            }
        };
        let session = Session::open(plugin, engine, call, &selection)?;
        let why: view::Why =
            session.request(move |client| client.get(&service_path(routes::SERVICE_WHY, &name), &[]))?;
        Ok(why.into_row(call.head).into_pipeline_data())
    }

    completes!(All);
}
