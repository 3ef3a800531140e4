//! `service logs`.

use super::names::completes;
use super::selecting;
use crate::ServicePlugin;
use crate::client::path_of;
use crate::error::refusal;
use crate::selector::Selection;
use crate::session::Session;
use crate::table::table;
use jiff::{SignedDuration, Timestamp};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use service_api::{routes, view};

/// How many lines of each service, unless something else is asked for.
const TAIL: i64 = 100;

pub(super) struct Logs;

impl PluginCommand for Logs {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service logs"
    }

    fn signature(&self) -> Signature {
        // With `--raw` it is a string, so the type can only be any.
        selecting(self.name(), &Type::Any)
            .named(
                "tail",
                SyntaxShape::Int,
                "How many lines of each service (default: 100, without --since)",
                Some('n'),
            )
            .named(
                "since",
                SyntaxShape::Any,
                "Only lines since then: a duration back from now, or a datetime",
                Some('s'),
            )
            .switch("raw", "The text of the lines instead of a table", Some('r'))
    }

    fn description(&self) -> &'static str {
        "Show what services wrote, merged by time."
    }

    fn extra_description(&self) -> &'static str {
        "`stream` is stdout or stderr, or shim for a word of the keeper of the process. Lines are kept when the \
         service, the daemon or the shell ends."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["output", "tail", "journal", "stderr", "journalctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service logs web-app --tail 20",
                description: "The last lines of a service",
                result: None,
            },
            Example {
                example: "service logs --since 5min | where stream == stderr",
                description: "All that was said on standard error lately",
                result: None,
            },
            Example {
                example: "[] | service logs",
                description: "An empty pipe has no lines",
                result: Some(Value::test_list(vec![])),
            },
        ]
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let selection = Selection::read(call, input)?;
        let since = since(call)?;
        let tail = tail(call, since.is_some())?;
        let mut lines: Vec<view::LogLine> = Vec::new();
        if !selection.is_empty() {
            let session = Session::open(plugin, engine, call, selection.names())?;
            let each: Vec<Vec<view::LogLine>> = session.ask_each(&selection, move |client, name| {
                let tail = tail.as_deref().map(|tail| ("tail", tail));
                let since = since.as_deref().map(|since| ("since", since));
                let query: Vec<_> = tail.into_iter().chain(since).collect();
                client.get(&path_of(routes::SERVICE_LOGS, name), &query)
            })?;
            lines = merge(each);
        }
        if call.has_flag("raw")? {
            let text: String = lines.into_iter().flat_map(|line| [line.line, "\n".into()]).collect();
            return Ok(PipelineData::value(Value::string(text, call.head), None));
        }
        Ok(table(lines, call.head))
    }

    completes!(All);
}

/// All lines by time; lines of one service keep their order, also where the clock was set back between them.
fn merge(each: Vec<Vec<view::LogLine>>) -> Vec<view::LogLine> {
    let mut lines = Vec::new();
    for service in each {
        let mut latest = None;
        for line in service {
            // Text does not sort like time: the daemon writes as many digits of a second as are needed.
            latest = latest.max(line.time.parse::<Timestamp>().ok());
            lines.push((latest, line));
        }
    }
    lines.sort_by_key(|(latest, _)| *latest);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn tail(call: &EvaluatedCall, since: bool) -> Result<Option<String>, LabeledError> {
    let asked: Option<Spanned<i64>> = call.get_flag("tail")?;
    match asked {
        Some(lines) if lines.item < 0 => Err(refusal(
            "bad_request",
            "cannot show a negative number of lines",
            "less than none",
            lines.span,
        )),
        Some(lines) => Ok(Some(lines.item.to_string())),
        None if since => Ok(None),
        None => Ok(Some(TAIL.to_string())),
    }
}

fn since(call: &EvaluatedCall) -> Result<Option<String>, LabeledError> {
    let Some(value) = call.get_flag_value("since") else {
        return Ok(None);
    };
    let time = match &value {
        Value::Duration { val, .. } => Timestamp::now().checked_sub(SignedDuration::from_nanos(*val)).ok(),
        Value::Date { val, .. } => val.to_rfc3339().parse().ok(),
        Value::String { val, .. } => val.parse().ok(),
        _ => None,
    };
    let time = time.ok_or_else(|| {
        refusal("bad_request", "cannot tell since when", "neither a duration nor a datetime", value.span())
            .with_help("for example `--since 10min` or `--since ((date now) - 1hr)`")
    })?;
    Ok(Some(time.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nu_protocol::{IntoSpanned, Span};

    fn line(service: &str, time: &str, line: &str) -> view::LogLine {
        let [service, time, line] = [service, time, line].map(String::from);
        view::LogLine { time, service, stream: "stdout".into(), line }
    }

    #[test]
    fn lines_are_merged_by_time_and_not_by_text() {
        let a = vec![line("a", "2026-01-01T00:00:00Z", "1"), line("a", "2026-01-01T00:00:01Z", "3")];
        let b = vec![line("b", "2026-01-01T00:00:00.5Z", "2")];
        let merged: Vec<_> = merge(vec![a, b]).into_iter().map(|line| line.line).collect();
        assert_eq!(merged, ["1", "2", "3"]);
    }

    #[test]
    fn lines_of_one_service_keep_their_order_when_the_clock_is_set_back() {
        let a = vec![line("a", "2026-01-02T00:00:00Z", "1"), line("a", "2026-01-01T00:00:01Z", "2")];
        let b = vec![line("b", "2026-01-01T00:00:00Z", "0"), line("b", "2026-01-03T00:00:00Z", "3")];
        let merged: Vec<_> = merge(vec![a, b]).into_iter().map(|line| line.line).collect();
        assert_eq!(merged, ["0", "1", "2", "3"]);
    }

    #[test]
    fn since_takes_a_duration_or_a_datetime_and_nothing_else() {
        let with = |value| {
            let name = "since".into_spanned(Span::test_data());
            since(&EvaluatedCall::new(Span::test_data()).with_named(name, value))
        };
        let hour_ago: Timestamp =
            with(Value::test_duration(3_600_000_000_000)).unwrap().unwrap().parse().unwrap();
        assert!(Timestamp::now().duration_since(hour_ago).as_secs() - 3600 < 5);
        let date = Value::test_date("2026-01-01T02:00:00+02:00".parse().unwrap());
        assert_eq!(with(date).unwrap().as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(with(Value::test_int(3)).unwrap_err().code.as_deref(), Some("service::bad_request"));
    }
}
