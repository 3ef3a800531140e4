//! `service init`.

use super::signature::category;
use crate::plugin::ServicePlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Span, Type, Value, record};
use service_api::project;
use service_api::view::Suggestion;
use service_client::orchestratord;
use service_nushell::error::labeled_at;
use service_nushell::shell;
use service_nushell::table::{string, strings};

pub(super) struct InitCommand;

impl PluginCommand for InitCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service init"
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .category(category())
            .switch("force", "Replace an existing services.toml", Some('f'))
            .input_output_type(Type::Nothing, Type::record())
    }

    fn description(&self) -> &'static str {
        "Write a commented services.toml into the current directory."
    }

    fn extra_description(&self) -> &'static str {
        "Every entry is commented out, so the file defines no service. Suggestions come from a Procfile, a \
         compose file, the scripts of a package.json or a Cargo.toml in the directory. The suggestions are in \
         the file, commented out as well, and in the result."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["new", "create", "project", "template", "Procfile", "compose"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service init",
                description: "Create a project in this directory",
                result: None,
            },
            Example {
                example: "service init --force | get suggestions",
                description: "Replace the file, and show the suggestions from other files",
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
        let here = shell::here(engine).map_err(|problem| labeled_at(&problem, call.head))?;
        let file = here.join(project::FILE);
        let force = call.has_flag("force")?;
        let begun = shell::caller(engine)
            .and_then(|caller| orchestratord::init(caller, &file, force))
            .map_err(|problem| labeled_at(&problem, call.head))?;
        let rows = begun.suggestions.into_iter().map(|suggestion| row(suggestion, call.head)).collect();
        let answer = record! {
            "path" => Value::string(begun.path, call.head),
            "replaced" => Value::bool(begun.replaced, call.head),
            "suggestions" => Value::list(rows, call.head),
        };
        Ok(PipelineData::value(Value::record(answer, call.head), None))
    }
}

fn row(suggestion: Suggestion, span: Span) -> Value {
    Value::record(
        record! {
            "source" => Value::string(suggestion.source, span),
            "name" => Value::string(suggestion.name, span),
            "start_command" => Value::string(suggestion.start_command, span),
            "shell" => string(suggestion.shell, span),
            "dependencies" => strings(suggestion.dependencies, span),
        },
        span,
    )
}
