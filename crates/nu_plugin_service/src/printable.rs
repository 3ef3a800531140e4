//! [`Printable`]: a command whose results and errors contain no control characters for the terminal.
//!
//! `commands::all` wraps every command in this type, so that text from services, files and other users is made
//! printable in one place, as the last step. A byte stream (`service logs --raw`) passes unchanged.

use crate::plugin::ServicePlugin;
use nu_plugin::{DynamicCompletionCall, EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::engine::ArgType;
use nu_protocol::{DynamicSuggestion, Example, LabeledError, PipelineData, ShellError, Signature, Value};
use service_api::printable::{coloured, printable};
use std::borrow::Cow;

/// The column of log lines, which keep their colours.
const LINE: &str = "line";

/// Prints the notes of an answer on standard error.
pub(crate) fn print_notes(notes: &[String]) {
    for note in notes {
        eprintln!("note: {}", printable(note));
    }
}

/// A command with printable results.
pub(crate) struct Printable<C>(pub(crate) C);

impl<C: PluginCommand<Plugin = ServicePlugin>> PluginCommand for Printable<C> {
    type Plugin = ServicePlugin;

    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> Signature {
        self.0.signature()
    }

    fn description(&self) -> &str {
        self.0.description()
    }

    fn extra_description(&self) -> &str {
        self.0.extra_description()
    }

    fn search_terms(&self) -> Vec<&str> {
        self.0.search_terms()
    }

    fn examples(&self) -> Vec<Example<'_>> {
        self.0.examples()
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        match self.0.run(plugin, engine, call, input).map_err(error)? {
            PipelineData::Value(value, metadata) => Ok(PipelineData::Value(printable_value(value), metadata)),
            PipelineData::ListStream(stream, metadata) => {
                Ok(PipelineData::ListStream(stream.map(printable_value), metadata))
            }
            other @ (PipelineData::Empty | PipelineData::ByteStream(..)) => Ok(other),
        }
    }

    #[expect(deprecated, reason = "the last argument marks the method as experimental")]
    fn get_dynamic_completion(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: DynamicCompletionCall,
        argument: ArgType,
        marker: nu_protocol::engine::ExperimentalMarker,
    ) -> Option<Vec<DynamicSuggestion>> {
        let suggestions = self.0.get_dynamic_completion(plugin, engine, call, argument, marker)?;
        let shown = suggestions.into_iter().map(|suggestion| DynamicSuggestion {
            value: text(suggestion.value),
            description: suggestion.description.map(text),
            ..suggestion
        });
        Some(shown.collect())
    }
}

/// Makes the text of a value printable.
fn printable_value(mut value: Value) -> Value {
    make_printable(&mut value, printable);
    value
}

fn make_printable(value: &mut Value, make: fn(&str) -> Cow<'_, str>) {
    match value {
        Value::String { val, .. } | Value::Glob { val, .. } => {
            if let Cow::Owned(shown) = make(val) {
                *val = shown;
            }
        }
        Value::List { vals, .. } => {
            vals.to_mut().iter_mut().for_each(|value| make_printable(value, make));
        }
        Value::Record { val, .. } => {
            for (column, cell) in val.to_mut().iter_mut() {
                make_printable(cell, if column == LINE { coloured } else { printable });
            }
        }
        Value::Error { error: inner, .. } => {
            if let ShellError::LabeledError(labeled) = inner.as_mut() {
                **labeled = error((**labeled).clone());
            }
        }
        _ => {}
    }
}

/// Makes the text of an error printable.
fn error(mut error: LabeledError) -> LabeledError {
    error.msg = text(error.msg);
    error.help = error.help.map(text);
    for label in error.labels.iter_mut() {
        label.text = text(std::mem::take(&mut label.text));
    }
    error
}

fn text(text: String) -> String {
    match printable(&text) {
        Cow::Owned(shown) => shown,
        Cow::Borrowed(_) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nu_protocol::{Span, record};

    const BAD: &str = "\u{1b}]52;c;eA==\u{7}\u{1b}[31mred\u{1b}[0m\u{9b}2J";

    #[test]
    fn every_cell_is_printable_and_a_line_keeps_its_colours() {
        let bad = || Value::test_string(BAD);
        let row = |name: Value, line: Value| Value::test_record(record! { "name" => name, "line" => line });
        let nested = Value::test_record(record! { "log" => Value::test_list(vec![row(bad(), bad())]) });
        let line = Value::test_string("\u{1b}[31mred\u{1b}[0m");
        let wanted = Value::test_list(vec![row(Value::test_string("red"), line)]);
        assert_eq!(printable_value(nested), Value::test_record(record! { "log" => wanted }));
        assert_eq!(printable_value(bad()), Value::test_string("red"));
    }

    #[test]
    fn an_error_is_printable_also_in_a_stream() {
        let bad = LabeledError::new(BAD).with_help(BAD).with_label(BAD, Span::test_data());
        let error = ShellError::from(bad);
        let Value::Error { error, .. } = printable_value(Value::error(error, Span::test_data())) else {
            panic!("an error must remain an error")
        };
        let ShellError::LabeledError(error) = *error else { panic!("the kind of the error must not change") };
        assert_eq!((error.msg.as_str(), error.help.as_deref()), ("red", Some("red")));
        assert_eq!(error.labels[0].text, "red");
    }
}
