//! `service stop`.

use super::action::Verb;
use super::names::completes;
use super::verb;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Value};

pub(super) struct Stop;

impl PluginCommand for Stop {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service stop"
    }

    fn signature(&self) -> Signature {
        verb::signature(self.name()).switch(
            "no-dependents",
            "Stop only what is named, not what needs it",
            None,
        )
    }

    fn description(&self) -> &'static str {
        "Stop services, after the running services that need them."
    }

    fn extra_description(&self) -> &'static str {
        "Rows come as services end. A service is stopped when its whole process tree is gone. A failure is a row with \
         `ok` false; it is an error only if all services that were named failed, or with --strict or --all."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["kill", "end", "down", "terminate", "systemctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service stop database",
                description: "Stop a service, after everything that needs it",
                result: None,
            },
            Example {
                example: "service status | where health == unhealthy | service stop --no-dependents",
                description: "Stop what is unhealthy and nothing else",
                result: None,
            },
            Example {
                example: "[] | service stop",
                description: "An empty pipe stops nothing",
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
        verb::run(Verb::Stop, plugin, engine, call, input)
    }

    completes!(Running);
}
