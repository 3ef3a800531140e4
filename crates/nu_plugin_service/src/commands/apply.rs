//! `service apply`.

use super::action::Verb;
use super::signature::signature;
use super::verb;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};

pub(super) struct Apply;

impl PluginCommand for Apply {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service apply"
    }

    fn signature(&self) -> Signature {
        signature(self.name())
            .switch("start", "Start every service that is new, not only those that something needs", None)
            .switch("no-rollback", "Leave everything as it is if a step fails", None)
            .named(
                "timeout",
                SyntaxShape::Duration,
                "How long each step may take; then it has failed",
                Some('t'),
            )
            .input_output_type(Type::Nothing, Type::table())
    }

    fn description(&self) -> &'static str {
        "Let what runs follow a changed services.toml, and go back if that fails."
    }

    fn extra_description(&self) -> &'static str {
        "Is refused before anything is stopped if a program, a directory or a file is missing that a start needs. Else it \
         does what `service plan` shows: stops what is removed, starts anew what must be, with the dependents given \
         back, starts what is newly needed, updates what can go on; waits until all of it is ready, and healthy where the \
         check has changed. If a step fails, \
         no other is begun, and what ran before runs again by its old definitions (`action` is `rolled_back`), which \
         stay in force until the file changes again; the command fails then."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["deploy", "reload", "update", "rollback", "changes"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "service apply", description: "Do what `service plan` shows", result: None },
            Example {
                example: "service apply --start --timeout 30sec",
                description: "Start what is new as well; go back if a step takes longer than that",
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
        let timeout = verb::timeout(call)?;
        let session = Session::open(plugin, engine, call, &Selection::Unsaid)?;
        let body = service_api::Apply {
            if_hash: session.trusted_hash(),
            start: call.has_flag("start")?,
            rollback: !call.has_flag("no-rollback")?,
            timeout_ms: timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        };
        // The daemon keeps the time of each step; there may be several between two rows.
        verb::follow(Verb::Apply, body, session, None, true)
    }
}
