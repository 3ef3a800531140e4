//! `service health`.

use super::completion::completes;
use super::query::Query;
use super::signature::selecting;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use service_api::{routes, view};
use service_client::client::service_path;
use service_nushell::table::table;

pub(super) struct HealthCommand;

impl PluginCommand for HealthCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service health"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
    }

    fn description(&self) -> &'static str {
        "Run the health checks of services now, concurrently."
    }

    fn extra_description(&self) -> &'static str {
        "The rows are the results of these checks. `service status` shows the latest results of the \
         background checks."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["check", "probe", "alive", "ping"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service health web-app | get 0.message",
                description: "Show the message of the health check of a service",
                result: None,
            },
            Example {
                example: "service health | where not healthy | service restart",
                description: "Restart unhealthy services",
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
        let Some(reading) = Query::open(plugin, engine, call, input)? else {
            return Ok(table::<view::Health>(Vec::new(), call.head));
        };
        let Query { selection, session } = reading;
        let rows: Vec<view::Health> = session.request_each(&selection, |client, name| {
            client.get(&service_path(routes::SERVICE_HEALTH, name), &[])
        })?;
        Ok(table(rows, call.head))
    }

    completes!(All);
}
