//! `service plan`.

use super::signature::signature;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use service_api::{routes, view};
use service_nushell::table::table;

pub(super) struct PlanCommand;

impl PluginCommand for PlanCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service plan"
    }

    fn signature(&self) -> Signature {
        signature(self.name())
            .switch("all", "Also show unchanged services", Some('a'))
            .input_output_type(Type::Nothing, Type::table())
    }

    fn description(&self) -> &'static str {
        "Show the changes that `service apply` would make."
    }

    fn extra_description(&self) -> &'static str {
        "The command compares the definitions of the running services with the file; without a difference \
         there are no rows. `change` is `add` (new, or a new dependency of an active service), `remove` (no \
         longer defined), `restart` (a changed key affects the process), `update` (the service continues with \
         the new definition) or, with --all, `none`. `because` has the changed keys; `affects` has the active \
         dependents that would be restarted too. Both are separated by a comma and a space. `warning` is set \
         if the apply would be refused, and names the missing thing."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["diff", "changes", "dry run", "preview"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "service plan | where change == restart",
            description: "Show the services that would restart",
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
        let session = Session::open(plugin, engine, call, &Selection::Unspecified)?;
        let all = call.has_flag("all")?;
        let mut changes: Vec<view::Change> = session.request(|client| client.get(routes::PLAN, &[]))?;
        changes.retain(|change| all || change.change != "none");
        Ok(table(changes, call.head))
    }
}
