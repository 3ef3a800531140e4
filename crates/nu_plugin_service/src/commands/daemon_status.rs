//! `service daemon status`.

use super::signature::about_daemon;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature};
use service_api::{routes, view};
use service_nushell::table::{Row, no_daemon};

pub(super) struct DaemonStatusCommand;

impl PluginCommand for DaemonStatusCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service daemon status"
    }

    fn signature(&self) -> Signature {
        about_daemon(self.name())
    }

    fn description(&self) -> &'static str {
        "Show the daemon of the project, without starting it."
    }

    fn extra_description(&self) -> &'static str {
        "Without a daemon, `running` is false, and `log` is the log of the last daemon."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["orchestratord", "version", "socket"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "http get --unix-socket (service daemon status).socket http://localhost/api/v1/services/status",
            description: "Send a request to the daemon without the plugin",
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
        let daemon: Option<view::Daemon> =
            session.request_if_running(|client| client.get(routes::DAEMON, &[]))?;
        let row = match daemon {
            Some(daemon) => daemon.into_row(call.head),
            None => no_daemon(session.project(), call.head),
        };
        Ok(PipelineData::value(row, None))
    }
}
