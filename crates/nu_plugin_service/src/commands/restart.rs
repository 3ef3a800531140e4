//! `service restart`.

use super::action::Verb;
use super::names::completes;
use super::verb;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Value};

pub(super) struct Restart;

impl PluginCommand for Restart {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service restart"
    }

    fn signature(&self) -> Signature {
        verb::signature(self.name())
            .switch("no-dependents", "Restart only what is named, not what needs it", None)
            .switch("oneshots", "With --all: do again also what one-shots have done", None)
    }

    fn description(&self) -> &'static str {
        "Stop services and start them again, and give back the running services that need them."
    }

    fn extra_description(&self) -> &'static str {
        "Before anything is stopped it looks at what each start needs, and is refused if a program, a directory or a file is missing. \
         Rows come as services get ready again. A failure is a row with `ok` false; it is an error only if all services \
         that were named failed, or with --strict or --all. A one-shot that has completed is done again if it is named, or with \
         `--all --oneshots`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["reload", "bounce", "again", "systemctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service restart cache",
                description: "Restart a service and what needs it",
                result: None,
            },
            Example {
                example: "service status | where memory > 1gb | service restart",
                description: "Restart what has grown",
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
        verb::run(Verb::Restart, plugin, engine, call, input)
    }

    completes!(All);
}
