//! `service apply`.

use super::action::ActionKind;
use super::run_action;
use super::signature::signature;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};

pub(super) struct ApplyCommand;

impl PluginCommand for ApplyCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service apply"
    }

    fn signature(&self) -> Signature {
        signature(self.name())
            .switch("start", "Start every new service, not only dependencies of active services", None)
            .switch("no-rollback", "Do not roll back if a step fails", None)
            .named("timeout", SyntaxShape::Duration, "Timeout of each step", Some('t'))
            .input_output_type(Type::Nothing, Type::table())
    }

    fn description(&self) -> &'static str {
        "Apply a changed services.toml to the running services, and roll back on failure."
    }

    fn extra_description(&self) -> &'static str {
        "If a program, a directory or a file that a start needs is missing, the apply is refused before any \
         service is stopped. Otherwise the command makes the changes of `service plan`: it stops removed \
         services, restarts changed services with their dependents, starts new dependencies and updates the \
         rest. It waits until all of these services are ready, and healthy if the health check has changed. \
         If a step fails, no further step begins, and the command fails. The services that ran before then \
         run again with their old definitions (`action` is `rolled_back`). These definitions stay in force \
         until the file changes again."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["deploy", "reload", "update", "rollback", "changes"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service apply",
                description: "Make the changes that `service plan` shows",
                result: None,
            },
            Example {
                example: "service apply --start --timeout 30sec",
                description: "Also start new services; roll back if a step takes longer than 30 seconds",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let timeout = run_action::timeout(call)?;
        let session = Session::open(plugin, engine, call, &Selection::Unspecified)?;
        let body = service_api::ApplyRequest {
            if_hash: session.trusted_hash(),
            start: call.has_flag("start")?,
            rollback: !call.has_flag("no-rollback")?,
            timeout_ms: timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        };
        // The daemon enforces the time limit of each step. There is no limit between two rows, because several steps
        // may run in between.
        run_action::send(ActionKind::Apply, body, session, None, true)
    }
}
