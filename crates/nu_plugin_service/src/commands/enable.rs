//! `service enable`.

use super::completion::completes;
use super::signature::signature;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use service_api::Unit;
use service_nushell::shell;
use service_nushell::table::Row;

pub(super) struct EnableCommand;

impl PluginCommand for EnableCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service enable"
    }

    fn signature(&self) -> Signature {
        signature(self.name())
            .rest(
                "names",
                SyntaxShape::String,
                "The services to start with the daemon (default: those with `auto = true`)",
            )
            .switch("all", "Start all services with the daemon", Some('a'))
            .switch("boot", "Start when the machine boots, and not only when you log in", None)
            .switch("now", "Also start now", None)
            .input_output_type(Type::Nothing, Type::record())
    }

    fn description(&self) -> &'static str {
        "Let systemd run the daemon of the project, and start services with it."
    }

    fn extra_description(&self) -> &'static str {
        "The command writes a commented unit for your own systemd (`systemctl --user`), and enables it. \
         systemd starts the daemon when you log in, with the PATH of this shell; set other variables of \
         services in `env` or `env_file`. Services outlive the daemon, also if systemd restarts the daemon. \
         At the end of the session or of the machine the services are stopped in order; the next session \
         starts them again. A second call replaces the unit of the first."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["systemd", "unit", "boot", "login", "autostart", "linger"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service enable --now",
                description: "Start services with `auto = true` now and at each login",
                result: None,
            },
            Example {
                example: "service enable web-app --boot",
                description: "Start web-app and its dependencies when the machine boots",
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
        let selection = Selection::Named(call.rest(0)?);
        let session = Session::open(plugin, engine, call, &selection)?;
        let mut words = vec!["enable".to_owned()];
        for flag in ["all", "boot", "now"] {
            if call.has_flag(flag)? {
                words.push(format!("--{flag}"));
            }
        }
        if let Some(nu) = shell::nu() {
            words.extend(["--nu".to_owned(), nu.display().to_string()]);
        }
        words.extend(selection.names().iter().map(|name| name.item.clone()));
        let asking = session.clone();
        let unit: Unit = session.with_timeout(move || {
            asking.run_program(&words.iter().map(String::as_str).collect::<Vec<_>>())
        })?;
        Ok(PipelineData::value(unit.into_row(call.head), None))
    }

    completes!(All);
}
