//! `service start`.

use super::action::ActionKind;
use super::completion::completes;
use super::run_action;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Value};

pub(super) struct StartCommand;

impl PluginCommand for StartCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service start"
    }

    fn signature(&self) -> Signature {
        run_action::signature(self.name())
            .switch("no-deps", "Start only the named services, not their dependencies", None)
            .named(
                "if-hash",
                SyntaxShape::String,
                "Only if services.toml has this hash of `service trust`",
                None,
            )
    }

    fn description(&self) -> &'static str {
        "Start services after their dependencies, and wait until they are ready."
    }

    fn extra_description(&self) -> &'static str {
        "A row arrives when its service is ready. A failed service has a row with `ok` false. The command \
         fails only if all named services failed; with --strict or --all it fails if any service failed. The \
         first command in a project starts the daemon of the project."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["run", "launch", "up", "daemon", "background", "systemctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service start web-app",
                description: "Start a service and its dependencies",
                result: None,
            },
            Example {
                example: "service status | where status == failed | service start --timeout 10sec",
                description: "Start failed services again, for at most ten seconds",
                result: None,
            },
            Example {
                example: "[] | service start",
                description: "An empty pipe starts nothing",
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
        run_action::run(ActionKind::Start, plugin, engine, call, input)
    }

    completes!(Idle);
}
