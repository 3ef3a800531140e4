//! `service`: the help, and a way back from a mistyped subcommand.

use super::category;
use crate::ServicePlugin;
use crate::error::refusal;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Span, Spanned, SyntaxShape, Type, Value};

const SUBCOMMANDS: [&str; 16] = [
    "list",
    "order",
    "start",
    "stop",
    "restart",
    "status",
    "health",
    "logs",
    "run",
    "add",
    "remove",
    "events",
    "history",
    "daemon status",
    "daemon stop",
    "daemon restart",
];

pub(super) struct Service;

impl PluginCommand for Service {
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
        "A project is a directory with a services.toml. You must use one of the following subcommands. Using this \
         command as-is will only produce this help message."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["daemon", "supervisor", "orchestrator", "systemctl", "background"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "service start web-app; service status",
            description: "Start a service with what it needs, and look at it",
            result: None,
        }]
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
        Err(unknown(&said, Span::new(first.span.start, last.span.end)))
    }
}

fn unknown(words: &[&str], span: Span) -> LabeledError {
    let near = SUBCOMMANDS
        .iter()
        .map(|name| (likeness(words, name), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let hint = match near {
        Some((_, name)) => format!("did you mean `service {name}`?"),
        None => "`service` alone lists the subcommands".into(),
    };
    let message = format!("no command `service {}`", words.join(" "));
    refusal("unknown_subcommand", &message, "unknown subcommand", span)
        .with_help(format!("{hint} (the system's own tool is `^service`)"))
}

/// How much as many words as the name has look like it, or begin it.
fn likeness(words: &[&str], name: &str) -> f64 {
    let count = name.split(' ').count().min(words.len());
    let said = words[..count].join(" ");
    if name.starts_with(&said) { 1.0 } else { strsim::jaro_winkler(&said, name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(words: &[&str]) -> String {
        unknown(words, Span::test_data()).help.unwrap()
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_subcommand() {
        assert!(help(&["stat", "web"]).starts_with("did you mean `service status`?"));
        assert!(help(&["strat"]).starts_with("did you mean `service start`?"));
        assert!(help(&["deamon", "stop"]).starts_with("did you mean `service daemon stop`?"));
        assert!(help(&["xyzzy"]).contains("`^service`"));
    }
}
