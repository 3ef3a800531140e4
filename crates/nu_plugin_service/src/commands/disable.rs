//! `service disable`.

use super::signature::signature;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use service_api::Unit;
use service_nushell::table::Row;

pub(super) struct DisableCommand;

impl PluginCommand for DisableCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service disable"
    }

    fn signature(&self) -> Signature {
        signature(self.name()).input_output_type(Type::Nothing, Type::record())
    }

    fn description(&self) -> &'static str {
        "Revert `service enable`: systemd no longer starts the project."
    }

    fn extra_description(&self) -> &'static str {
        "The daemon ends and the unit is removed. Services keep running without a daemon."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["systemd", "unit", "boot", "login", "autostart"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "service disable; service daemon stop --services",
            description: "Disable the unit, and stop the services",
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
        let unit: Unit = Session::open(plugin, engine, call, &Selection::Unspecified)?
            .one_shot(vec!["disable".to_owned()])?;
        Ok(PipelineData::value(unit.into_row(call.head), None))
    }
}
