//! `service stop`.

use super::action::ActionKind;
use super::completion::completes;
use super::run_action;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Value};

pub(super) struct StopCommand;

impl PluginCommand for StopCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service stop"
    }

    fn signature(&self) -> Signature {
        run_action::signature(self.name()).switch(
            "no-dependents",
            "Stop only the named services, not their dependents",
            None,
        )
    }

    fn description(&self) -> &'static str {
        "Stop services after their running dependents."
    }

    fn extra_description(&self) -> &'static str {
        "A row arrives when its service has stopped: when its whole process tree has ended. A failed stop has \
         a row with `ok` false. The command fails only if all named services failed; with --strict or --all \
         it fails if any service failed."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["kill", "end", "down", "terminate", "systemctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service stop database",
                description: "Stop a service after its dependents",
                result: None,
            },
            Example {
                example: "service status | where health == unhealthy | service stop --no-dependents",
                description: "Stop unhealthy services alone",
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
        run_action::run(ActionKind::Stop, plugin, engine, call, input)
    }

    completes!(Running);
}
