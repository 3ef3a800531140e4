//! `service plan`.

use super::signature::signature;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use crate::table::table;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use service_api::{routes, view};

pub(super) struct Plan;

impl PluginCommand for Plan {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service plan"
    }

    fn signature(&self) -> Signature {
        signature(self.name())
            .switch("all", "Also the services for which nothing would change", Some('a'))
            .input_output_type(Type::Nothing, Type::table())
    }

    fn description(&self) -> &'static str {
        "Show what `service apply` would do after services.toml was changed."
    }

    fn extra_description(&self) -> &'static str {
        "Compares the definitions of what runs with the file, and tells what differs; nothing if nothing does. `change` is `add` (new, or newly needed by what is up), \
         `remove` (no longer defined), `restart` (started anew: the process was given what changed), `update` (goes on \
         under its new definition) or, with --all, `none`; `because` has the keys that differ, `affects` the dependents that are up \
         and would be started anew along, both parted by a comma and a space. `warning` is there where an apply would be \
         refused: it says what a start needs and is not there."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["diff", "changes", "dry run", "preview"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "service plan | where change == restart",
            description: "What would be started anew",
            result: None,
        }]
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let session = Session::open(plugin, engine, call, &Selection::Unsaid)?;
        let all = call.has_flag("all")?;
        let mut changes: Vec<view::Change> = session.ask(|client| client.get(routes::PLAN, &[]))?;
        changes.retain(|change| all || change.change != "none");
        Ok(table(changes, call.head))
    }
}
