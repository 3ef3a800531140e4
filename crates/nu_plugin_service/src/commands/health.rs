//! `service health`.

use super::names::completes;
use super::reading::Reading;
use super::signature::selecting;
use crate::client::path_of;
use crate::plugin::ServicePlugin;
use crate::table::table;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use service_api::{routes, view};

pub(super) struct Health;

impl PluginCommand for Health {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service health"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
    }

    fn description(&self) -> &'static str {
        "Check now whether services are healthy, all at the same time."
    }

    fn extra_description(&self) -> &'static str {
        "Asks the health check of each service at this moment, and says what it saw. `service status` shows what the \
         checks in the background found last."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["check", "probe", "alive", "ping"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service health web-app | get 0.message",
                description: "What the health check of a service says",
                result: None,
            },
            Example {
                example: "service health | where not healthy | service restart",
                description: "Restart what does not answer",
                result: None,
            },
            Example {
                example: "[] | service health",
                description: "An empty pipe checks nothing",
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
            return Ok(table::<view::Health>(Vec::new(), call.head));
        };
        let Reading { selection, session } = reading;
        let rows: Vec<view::Health> = session
            .ask_each(&selection, |client, name| client.get(&path_of(routes::SERVICE_HEALTH, name), &[]))?;
        Ok(table(rows, call.head))
    }

    completes!(All);
}
