//! `service daemon status`.

use super::signature;
use crate::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use crate::table::Row;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use service_api::{routes, view};

pub(super) struct DaemonStatus;

impl PluginCommand for DaemonStatus {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service daemon status"
    }

    fn signature(&self) -> Signature {
        signature(self.name()).input_output_type(Type::Nothing, Type::record())
    }

    fn description(&self) -> &'static str {
        "Show the daemon of the project, without starting it."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["orchestratord", "version", "socket"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "http get --unix-socket (service daemon status).socket http://localhost/api/v1/services/status",
            description: "Ask the daemon without the plugin",
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
        let daemon: view::Daemon = session.ask_running(|client| client.get(routes::DAEMON, &[]))?;
        Ok(PipelineData::value(daemon.row(call.head), None))
    }
}
