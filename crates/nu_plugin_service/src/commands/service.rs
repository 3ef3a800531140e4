//! `service`: the help, and suggestions for a mistyped subcommand.

use super::signature::category;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Span, Spanned, SyntaxShape, Type, Value};
use service_nushell::error::invalid_call;

/// The text of `help service` below the first line.
const MANUAL: &str = "\
A project is a directory with a services.toml, found from the current directory upward (or --config, or
$env.SERVICES_CONFIG). `service init` writes one:

  [services.database]
  start_command = \"postgres -D data\"
  health_check_endpoint = \"tcp://127.0.0.1:5432\"

  [services.web-app]
  start_command = \"shop --port 8080\"
  dependencies = [\"database\"]

Every day
  service start web-app        starts web-app after its dependencies
  service status               shows state, health, uptime and memory of all services
  service logs web-app         shows the output of web-app; --follow also shows new lines
  service stop database        stops database after its dependents
  service restart database     restarts database with its running dependents

After a failure
  service why web-app          explains the state of web-app, and suggests a remedy
  service check                shows errors and warnings of services.toml
  service events --since 1hr   shows the events of the last hour
  service health               runs every health check now

In a script
  service wait web-app --timeout 30sec     waits until web-app is ready or has failed
  service status | where health == unhealthy | service restart
  try { service start web-app } catch {|e| if $e.details.code == service::start_failed { ... } }

After a change of services.toml
  service plan                 shows the changes
  service apply                makes the changes, and rolls back on failure

Names are arguments, or piped input: strings, or rows with a `name`. An empty pipe selects no service. A failed row has the reason
in `error`. If every named service failed, the command fails with a code: service::not_found, timeout, start_failed ...

The daemon of the project starts with the first command that needs it. Services outlive the daemon and the shell.
`^service` calls the system's own program of this name.";

pub(super) struct ServiceCommand {
    /// The names of the other commands.
    pub(super) commands: Vec<String>,
}

impl PluginCommand for ServiceCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service"
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .category(category())
            .rest("words", SyntaxShape::String, "A subcommand")
            .input_output_type(Type::Any, Type::String)
    }

    fn description(&self) -> &'static str {
        "Start, stop and watch the services of a project."
    }

    fn extra_description(&self) -> &'static str {
        MANUAL
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["daemon", "supervisor", "orchestrator", "systemctl", "background"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service start web-app; service status",
                description: "Start a service with its dependencies, and show all states",
                result: None,
            },
            Example {
                example: "service status | where status == failed | each {|it| service why $it.name } | select summary help",
                description: "Explain the failed services, with remedies",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        _: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let words: Vec<Spanned<String>> = call.rest(0)?;
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            let help = engine.get_help()?;
            return Ok(PipelineData::value(Value::string(help, call.head), None));
        };
        let said: Vec<_> = words.iter().map(|word| word.item.as_str()).collect();
        Err(unknown(&said, &self.commands, Span::new(first.span.start, last.span.end)))
    }
}

/// The commands of the module `nu/service`.
const MODULE_COMMANDS: [&str; 9] = ["up", "down", "watch", "top", "tail", "prompt", "hook", "trust", "paint"];

fn unknown(words: &[&str], commands: &[String], span: Span) -> LabeledError {
    if let Some(word) = words.first().filter(|word| MODULE_COMMANDS.contains(word)) {
        let message = format!(
            "unknown command `service {word}`: it belongs to the module, which is not \
                               loaded"
        );
        return invalid_call("unknown_subcommand", &message, "not loaded", span).with_help(
            "call `use service` first, also in config.nu (`nu install.nu` installs the module); `nu -c` \
             reads no config.nu: `nu -c 'use service; service up'`",
        );
    }
    let names = commands.iter().filter_map(|command| command.strip_prefix("service "));
    let near = match words.first().and_then(|word| ALIASES.iter().find(|(said, _)| said == word)) {
        Some((_, meant)) => Some(*meant),
        None => names
            .filter_map(|name| Some((distance(words, name)?, name)))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, name)| name),
    };
    let hint = match near {
        Some(name) => format!("did you mean `service {name}`?"),
        None => "`service` alone lists the subcommands".into(),
    };
    let message = format!("no command `service {}`", words.join(" "));
    invalid_call("unknown_subcommand", &message, "unknown subcommand", span)
        .with_help(format!("{hint} (the system's own tool is `^service`)"))
}

/// Names of other programs for these commands.
const ALIASES: [(&str, &str); 4] = [("ps", "status"), ("ls", "list"), ("rm", "remove"), ("kill", "stop")];

/// The edit distance of the first words from the name; `None` if it is too large, or if the words are a prefix of the
/// name.
fn distance(words: &[&str], name: &str) -> Option<usize> {
    let count = name.split(' ').count().min(words.len());
    let said = words[..count].join(" ");
    if name.starts_with(&said) {
        return Some(0);
    }
    // Words of more than 64 characters are not compared.
    if said.len() > 64 {
        return None;
    }
    let name = name.split(' ').take(count).collect::<Vec<_>>().join(" ");
    let distance = strsim::osa_distance(&said, &name);
    (distance <= said.chars().count().max(name.len()) / 3).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        crate::commands::all().iter().map(|command| PluginCommand::name(&**command).to_owned()).collect()
    }

    fn help(words: &[&str]) -> String {
        unknown(words, &names(), Span::test_data()).help.unwrap()
    }

    #[test]
    fn the_manual_speaks_of_commands_that_there_are() {
        let names = names();
        let known = |word: &str| names.contains(&format!("service {word}"));
        let lines = MANUAL.lines().filter_map(|line| line.strip_prefix("  service "));
        let words: Vec<_> = lines.filter_map(|line| line.split([' ', ';']).next()).collect();
        assert!(words.len() > 10, "{words:?}");
        assert_eq!(words.into_iter().find(|word| !known(word)), None);
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_subcommand() {
        assert!(help(&["stat", "web"]).starts_with("did you mean `service status`?"));
        assert!(help(&["strat"]).starts_with("did you mean `service start`?"));
        assert!(help(&["deamon", "stop"]).starts_with("did you mean `service daemon stop`?"));
        assert!(help(&["statsu"]).starts_with("did you mean `service status`?"));
        assert!(help(&["deamon"]).starts_with("did you mean `service daemon "));
        assert!(help(&["ps"]).starts_with("did you mean `service status`?"));
        for odd in ["cat", "env", "scale", "port", "clean", "help", "reset-failed"] {
            assert!(help(&[odd]).starts_with("`service` alone"), "{odd}: {}", help(&[odd]));
        }
        assert!(help(&["xyzzy"]).contains("`^service`"));
        assert!(help(&["hook"]).contains("`use service`"));
    }
}
