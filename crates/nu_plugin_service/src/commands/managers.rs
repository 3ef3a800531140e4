//! `service managers`.

use super::signature::signature;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use service_api::{routes, view};
use service_nushell::table::table;

pub(super) struct ManagersCommand;

impl PluginCommand for ManagersCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service managers"
    }

    fn signature(&self) -> Signature {
        signature(self.name()).input_output_type(Type::Nothing, Type::table())
    }

    fn description(&self) -> &'static str {
        "Show the managers, their commands, and whether their programs are installed."
    }

    fn extra_description(&self) -> &'static str {
        "The rows are the built-in managers, and the modules that services name by path. `commands` lists the \
         exports of a module, separated by a comma and a space. `present`, `program` and `version` are the \
         result of its `check`, and null without a `check`. `services` is the number of services with this \
         manager. `message` describes a problem."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["systemd", "podman", "docker", "module", "backend"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "service managers | where services > 0 and present == false",
            description: "Show missing programs",
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
        let managers: Vec<view::Manager> = session.request(|client| client.get(routes::MANAGERS, &[]))?;
        Ok(table(managers, call.head))
    }
}
