//! `service daemon stop`.

use super::signature::about_daemon;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature};
use service_client::client::Client;
use service_client::launch;
use service_nushell::table::Row;

pub(super) struct DaemonStopCommand;

impl PluginCommand for DaemonStopCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service daemon stop"
    }

    fn signature(&self) -> Signature {
        about_daemon(self.name()).switch("services", "Stop the services first", None)
    }

    fn description(&self) -> &'static str {
        "Stop the daemon of the project; its services keep running."
    }

    fn extra_description(&self) -> &'static str {
        "The next daemon adopts the running services. With --services all services are stopped first. The \
         record describes the stopped daemon."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["orchestratord", "quit", "shutdown"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service daemon stop",
                description: "Stop the daemon only, for example before an upgrade",
                result: None,
            },
            Example {
                example: "service daemon stop --services",
                description: "Leave nothing running",
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
        let session = Session::open(plugin, engine, call, &Selection::Unspecified)?;
        let services = if call.has_flag("services")? { "true" } else { "false" };
        let end = move |client: &Client| launch::end(client, &[("services", services)]);
        // The response shows whether a daemon ran. An earlier check could be wrong, because the lock of a killed daemon
        // is held for a moment longer.
        let daemon = match session.request_if_running(end)? {
            Some(daemon) => daemon,
            None if services == "true" && session.has_services() => session.request(end)?,
            None => session.request_running(end)?,
        };
        Ok(PipelineData::value(daemon.into_row(call.head), None))
    }
}
