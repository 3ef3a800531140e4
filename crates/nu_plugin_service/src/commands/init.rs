//! `service init`.

use super::category;
use crate::ServicePlugin;
use crate::error::{labeled_at, refusal};
use crate::init::{Suggestion, detect, page};
use crate::table::{string, strings};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Span, Type, Value, record};
use service_api::{Code, Problem, project};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

pub(super) struct Init;

impl PluginCommand for Init {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service init"
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .category(category())
            .switch("force", "Replace the services.toml that is there", Some('f'))
            .input_output_type(Type::Nothing, Type::record())
    }

    fn description(&self) -> &'static str {
        "Write a services.toml that explains itself into the current directory."
    }

    fn extra_description(&self) -> &'static str {
        "All of it is commented out, so nothing is started by it. What a Procfile, a compose file, the scripts of a \
         package.json or a Cargo.toml here speak of is suggested: in the file, commented out as well, and in the answer."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["new", "create", "project", "template", "Procfile", "compose"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service init",
                description: "Begin a project in this directory",
                result: None,
            },
            Example {
                example: "service init --force | get suggestions",
                description: "Begin again, and see what other files suggest",
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
        let directory = PathBuf::from(engine.get_current_dir()?);
        let path = directory.join(project::FILE);
        let suggestions = detect(&directory);
        let force = call.has_flag("force")?;
        let replaced = force && path.exists();
        let mut options = OpenOptions::new();
        let options = options.write(true).truncate(true).create(force).create_new(!force);
        let written = options.open(&path).and_then(|mut file| file.write_all(page(&suggestions).as_bytes()));
        written.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                let message = format!("there is a `{}` already", path.display());
                refusal("exists", &message, "would replace it", call.head)
                    .with_help("leave it, or replace it with `--force`")
            }
            _ => {
                let message = format!("cannot write `{}`: {error}", path.display());
                labeled_at(&Problem::new(Code::Internal, message), call.head)
            }
        })?;
        let rows = suggestions.into_iter().map(|suggestion| row(suggestion, call.head)).collect();
        let answer = record! {
            "path" => Value::string(path.display().to_string(), call.head),
            "replaced" => Value::bool(replaced, call.head),
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
            "shell" => string(suggestion.shell.then(|| "sh".to_owned()), span),
            "dependencies" => strings(suggestion.dependencies, span),
        },
        span,
    )
}
