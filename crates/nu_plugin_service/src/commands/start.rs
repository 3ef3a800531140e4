//! `service start`.

use super::action::Verb;
use super::names::completes;
use super::verb;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Value};

pub(super) struct Start;

impl PluginCommand for Start {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service start"
    }

    fn signature(&self) -> Signature {
        verb::signature(self.name())
            .switch("no-deps", "Start only what is named, not what it needs", None)
            .named(
                "if-hash",
                SyntaxShape::String,
                "Only if services.toml is as `service trust` knows it by this hash",
                None,
            )
    }

    fn description(&self) -> &'static str {
        "Start services, with what they need first, and wait until they are ready."
    }

    fn extra_description(&self) -> &'static str {
        "Rows come as services get ready. A failure is a row with `ok` false; it is an error only if all services \
         that were named failed, or with --strict or --all. The first command in a project starts its daemon."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["run", "launch", "up", "daemon", "background", "systemctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service start web-app",
                description: "Start a service and everything it needs",
                result: None,
            },
            Example {
                example: "service status | where status == failed | service start --timeout 10sec",
                description: "Try again what failed, for ten seconds",
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
        verb::run(Verb::Start, plugin, engine, call, input)
    }

    completes!(Idle);
}
