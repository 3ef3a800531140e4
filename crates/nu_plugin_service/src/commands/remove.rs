//! `service remove`.

use super::action::Verb;
use super::names::completes;
use super::signature::selecting;
use super::verb;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};

pub(super) struct Remove;

impl PluginCommand for Remove {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service remove"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
            .switch("all", "Everything that was added", Some('a'))
            .switch("strict", "Raise an error if any was not removed, not only if none was", None)
            .named("timeout", SyntaxShape::Duration, "How long to wait until it has stopped", Some('t'))
    }

    fn description(&self) -> &'static str {
        "Stop services that were added or run, and forget them with their logs."
    }

    fn extra_description(&self) -> &'static str {
        "What services.toml defines is removed there. What something else needs is removed only along with that."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["delete", "undefine", "forget", "rm"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service remove tunnel",
                description: "Stop what was added as `tunnel`, and forget it",
                result: None,
            },
            Example {
                example: "service list | where origin == transient | service remove",
                description: "Forget all that was run",
                result: None,
            },
            Example {
                example: "[] | service remove",
                description: "An empty pipe removes nothing",
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
        verb::run(Verb::Remove, plugin, engine, call, input)
    }

    completes!(Added);
}
