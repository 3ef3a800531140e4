//! `service restart`.

use super::action::ActionKind;
use super::completion::completes;
use super::run_action;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Value};

pub(super) struct RestartCommand;

impl PluginCommand for RestartCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service restart"
    }

    fn signature(&self) -> Signature {
        run_action::signature(self.name())
            .switch("no-dependents", "Restart only the named services, not their dependents", None)
            .switch("oneshots", "With --all: also run completed one-shots again", None)
    }

    fn description(&self) -> &'static str {
        "Restart services, together with their running dependents."
    }

    fn extra_description(&self) -> &'static str {
        "If a program, a directory or a file that a start needs is missing, the restart is refused before any \
         service is stopped. A row arrives when its service is ready again. A failed service has a row with \
         `ok` false. The command fails only if all named services failed; with --strict or --all it fails if \
         any service failed. A completed one-shot runs again if it is named, or with `--all --oneshots`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["reload", "bounce", "again", "systemctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service restart cache",
                description: "Restart a service and its dependents",
                result: None,
            },
            Example {
                example: "service status | where memory > 1gb | service restart",
                description: "Restart services that use much memory",
                result: None,
            },
            Example {
                example: "[] | service restart",
                description: "An empty pipe restarts nothing",
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
        run_action::run(ActionKind::Restart, plugin, engine, call, input)
    }

    completes!(All);
}
