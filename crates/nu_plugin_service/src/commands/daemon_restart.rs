//! `service daemon restart`.

use super::signature::about_daemon;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature};
use service_api::{routes, view};
use service_client::launch;
use service_nushell::error::invalid_call;
use service_nushell::table::Row;

pub(super) struct DaemonRestartCommand;

impl PluginCommand for DaemonRestartCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service daemon restart"
    }

    fn signature(&self) -> Signature {
        about_daemon(self.name())
    }

    fn description(&self) -> &'static str {
        "Replace the daemon of the project by a new one; no service is restarted."
    }

    fn extra_description(&self) -> &'static str {
        "Use this command after an upgrade, or to give the environment of this shell to services that start \
         from now on. The record describes the new daemon."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["orchestratord", "upgrade", "reload", "environment"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "service daemon restart",
            description: "Switch to the installed version of the daemon",
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
        if session.is_remote() {
            let message = "cannot restart the daemon of another machine: it cannot be started from here";
            return Err(invalid_call("remote", message, "works only on its own machine", call.head)
                .with_help("run it there, or name a project of this machine with `--config`"));
        }
        session.request_running(|client| launch::end(client, &[]))?;
        let daemon: view::Daemon = session.request(|client| client.get(routes::DAEMON, &[]))?;
        Ok(PipelineData::value(daemon.into_row(call.head), None))
    }
}
