//! `service remove`.

use super::action::ActionKind;
use super::completion::completes;
use super::run_action;
use super::signature::selecting;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};

pub(super) struct RemoveCommand;

impl PluginCommand for RemoveCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service remove"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
            .switch("all", "Every added service", Some('a'))
            .switch("strict", "Raise an error if any service was not removed, not only if all failed", None)
            .named("timeout", SyntaxShape::Duration, "How long to wait for the stop", Some('t'))
    }

    fn description(&self) -> &'static str {
        "Stop added and transient services, and delete them with their logs."
    }

    fn extra_description(&self) -> &'static str {
        "To remove a service of services.toml, edit the file. A dependency can only be removed together with \
         its dependents."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["delete", "undefine", "forget", "rm"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service remove tunnel",
                description: "Stop and delete the service `tunnel`",
                result: None,
            },
            Example {
                example: "service list | where origin == transient | service remove",
                description: "Delete all transient services",
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
        run_action::run(ActionKind::Remove, plugin, engine, call, input)
    }

    completes!(Added);
}
