//! `service order`.

use super::completion::completes;
use super::query::Query;
use super::signature::selecting;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use service_api::{routes, view};
use service_nushell::table::table;

pub(super) struct OrderCommand;

impl PluginCommand for OrderCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service order"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
    }

    fn description(&self) -> &'static str {
        "Show the start order of services, with all their dependencies."
    }

    fn extra_description(&self) -> &'static str {
        "Services of one level do not depend on each other and start at the same time; level 0 has no \
         dependencies. The command starts no daemon."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["dependencies", "graph", "plan", "levels"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service order web-app",
                description: "Show the services that `service start web-app` would start",
                result: None,
            },
            Example {
                example: "service order | group-by level",
                description: "Group services that start at the same time",
                result: None,
            },
            Example {
                example: "[] | service order",
                description: "An empty pipe has no order",
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
            return Ok(table::<view::Step>(Vec::new(), call.head));
        };
        let steps: Vec<view::Step> = reading.fetch(routes::ORDER, Vec::new())?;
        Ok(table(steps, call.head))
    }

    completes!(All);
}
