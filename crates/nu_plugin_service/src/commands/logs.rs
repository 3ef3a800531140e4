//! `service logs`.

use super::completion::completes;
use super::signature::selecting;
use crate::log_follow::{LogFollower, LogRequest};
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use jiff::{SignedDuration, Timestamp};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    ByteStream, ByteStreamType, Example, IntoInterruptiblePipelineData, LabeledError, PipelineData,
    ShellError, Signature, SyntaxShape, Type, Value,
};
use service_api::{Problem, routes, view};
use service_client::client::Client;
use service_nushell::error::invalid_call;
use service_nushell::interruptible::WorkerEvent;
use service_nushell::table::{Row, metadata, table};
use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

/// The default number of lines of each service.
const DEFAULT_TAIL: i64 = 100;
/// The value for all lines.
const ALL: &str = "all";
/// The default number of lines before new ones.
const FOLLOW_TAIL: i64 = 10;
/// The interval at which an idle stream checks that it is still read.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(500);
/// The approximate size of a chunk of text.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) struct LogsCommand;

impl PluginCommand for LogsCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service logs"
    }

    fn signature(&self) -> Signature {
        // With `--raw` the result is a string, so the output type is `any`.
        selecting(self.name(), &Type::Any)
            .named(
                "tail",
                SyntaxShape::OneOf(vec![SyntaxShape::Int, SyntaxShape::String]),
                "How many lines of each service, or `all` (default: 100; with --follow 10; with --since all)",
                Some('n'),
            )
            .named(
                "since",
                SyntaxShape::Any,
                "Lines since then: a duration before now, or a datetime",
                Some('s'),
            )
            .switch("follow", "Show new lines as they are written, until ctrl-c", Some('f'))
            .switch("raw", "The text of the lines instead of a table", Some('r'))
    }

    fn description(&self) -> &'static str {
        "Show the log lines of services, merged by time."
    }

    fn extra_description(&self) -> &'static str {
        "`stream` is stdout or stderr, or shim for a message of the shim. Logs survive the end of the \
         service, the daemon and the shell. With --follow new lines arrive as they are written, across \
         restarts of the service and of the daemon; lines of a manager arrive within two seconds. An \
         incomplete line is shown after a short silence, and its continuation is a row of its own. --raw \
         prints text instead of rows, with the name of the service if there are several. Rows keep only \
         colours of the terminal sequences; --raw keeps the original text. `where` searches only the shown \
         lines; `--tail all` shows all lines. At a terminal a note on standard error reports that there may \
         be more lines."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["output", "tail", "follow", "journal", "stderr", "journalctl"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service logs web-app --tail 20",
                description: "The last lines of a service",
                result: None,
            },
            Example {
                example: "service logs web-app --tail all | where line =~ error",
                description: "Search the whole log",
                result: None,
            },
            Example {
                example: "service logs --since 5min | where stream == stderr",
                description: "Show recent lines of standard error",
                result: None,
            },
            Example {
                example: "service logs web-app database --follow --raw",
                description: "Follow two services",
                result: None,
            },
            Example {
                example: "service logs web-app -f | where line =~ error | first",
                description: "Wait for a line",
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
        let selection = Selection::read(plugin, engine, call, input)?;
        let (raw, follow) = (call.has_flag("raw")?, call.has_flag("follow")?);
        let since = since(call)?;
        let tail = tail(call, follow, since.is_some())?;
        if selection.is_empty() {
            return Ok(match raw {
                true => PipelineData::value(Value::string("", call.head), None),
                false => table::<view::LogLine>(Vec::new(), call.head),
            });
        }
        let session = Session::open(plugin, engine, call, &selection)?;
        let names = selection.joined();
        let (client, width) = session.request(move |client| {
            let names = if raw { resolve_names(client, &names)? } else { Vec::new() };
            let width = names.iter().map(String::len).max().filter(|_| names.len() > 1);
            Ok((client.clone(), width))
        })?;
        let is_cut = !follow && call.get_flag_value("tail").is_none() && tail.is_some();
        let request = LogRequest {
            names: selection.joined(),
            tail: tail.unwrap_or_default(),
            since: since.unwrap_or_default(),
            follow,
        };
        let follower = LogFollower::open(&session, client, request)?;
        let signals = engine.signals().clone();
        let counts = (is_cut && stderr().is_terminal() && session.is_in_foreground()).then(BTreeMap::new);
        let mut lines = LogRows { follower, session, over: false, counts };
        if raw {
            let stream = ByteStream::from_fn(call.head, signals, ByteStreamType::String, move |text| {
                lines.text(text, width)
            });
            return Ok(PipelineData::byte_stream(stream, None));
        }
        Ok(lines.into_pipeline_data_with_metadata(call.head, signals, metadata::<view::LogLine>(call.head)))
    }

    completes!(All);
}

/// The names in `names`; if it is empty, the names of all services.
fn resolve_names(client: &Client, names: &str) -> Result<Vec<String>, Problem> {
    if !names.is_empty() {
        return Ok(names.split(',').map(str::to_owned).collect());
    }
    // The definitions are refused if the file is invalid, and the states are not.
    let services: Vec<view::Status> = client.get(routes::STATUS, &[])?;
    Ok(services.into_iter().map(|service| service.name).collect())
}

/// The rows of the lines as they arrive, until ctrl-c.
struct LogRows {
    follower: LogFollower,
    session: Session,
    over: bool,
    /// The number of lines of each service, if the default limit applies and a user reads the result.
    counts: Option<BTreeMap<String, i64>>,
}

impl Iterator for LogRows {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        if self.over {
            return None;
        }
        let head = self.session.head;
        match self.receive() {
            WorkerEvent::Item(Ok(line)) => Some(line.into_row(head)),
            WorkerEvent::Item(Err(problem)) => {
                self.over = true;
                Some(Value::error(ShellError::from(self.session.error(&problem)), head))
            }
            WorkerEvent::Finished | WorkerEvent::Interrupted | WorkerEvent::TimedOut => {
                self.over = true;
                None
            }
        }
    }
}

impl LogRows {
    /// The next line, or the end. A plugin notices only at its next row that its stream is not read any more, so an
    /// idle stream checks that the shell still responds.
    fn receive(&mut self) -> WorkerEvent<Result<view::LogLine, Problem>> {
        loop {
            match self.follower.receive(Some(LIVENESS_INTERVAL)) {
                WorkerEvent::Finished => {
                    self.print_truncation();
                    return WorkerEvent::Finished;
                }
                WorkerEvent::Item(Ok(line)) => {
                    self.count(&line);
                    return WorkerEvent::Item(Ok(line));
                }
                WorkerEvent::TimedOut if self.session.engine.get_env_var("PWD").is_err() => {
                    return WorkerEvent::Finished;
                }
                WorkerEvent::TimedOut => {}
                event => return event,
            }
        }
    }

    fn count(&mut self, line: &view::LogLine) {
        if let Some(counts) = &mut self.counts {
            *counts.entry(line.service.clone()).or_default() += 1;
        }
    }

    /// Notifies the user that the default limit has truncated the result.
    fn print_truncation(&mut self) {
        let counts = self.counts.take().unwrap_or_default();
        let cut: Vec<_> = counts
            .iter()
            .filter(|(_, count)| **count >= DEFAULT_TAIL)
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        if !cut.is_empty() {
            let names = service_api::printable(&cut.join(", ")).into_owned();
            eprintln!("these are the last {DEFAULT_TAIL} lines of {names}; `--tail all` shows every line");
        }
    }

    /// Appends the text of the next lines: waits for one line, and also appends the lines that have already arrived.
    /// With several services, each line follows its service's name; `width` is the length of the longest name. Returns
    /// whether there may be more lines.
    fn text(&mut self, text: &mut Vec<u8>, width: Option<usize>) -> Result<bool, ShellError> {
        // Nushell calls again after the last chunk.
        if self.over {
            return Ok(false);
        }
        let mut event = self.receive();
        loop {
            match event {
                WorkerEvent::Item(Ok(line)) => {
                    if let Some(width) = width {
                        text.extend(format!("{:width$} | ", line.service).into_bytes());
                    }
                    text.extend(line.line.into_bytes());
                    text.push(b'\n');
                }
                WorkerEvent::Item(Err(problem)) => {
                    self.over = true;
                    return Err(self.session.error(&problem).into());
                }
                WorkerEvent::TimedOut => return Ok(true),
                WorkerEvent::Finished | WorkerEvent::Interrupted => {
                    self.over = true;
                    return Ok(false);
                }
            }
            if text.len() >= CHUNK_BYTES {
                return Ok(true);
            }
            event = self.follower.receive(Some(Duration::ZERO));
            match &event {
                WorkerEvent::Item(Ok(line)) => self.count(line),
                WorkerEvent::Finished => self.print_truncation(),
                _ => {}
            }
        }
    }
}

/// The number of lines; `None` for the daemon's default.
fn tail(call: &EvaluatedCall, follow: bool, since: bool) -> Result<Option<String>, LabeledError> {
    let refused = |label: &str, message: &str, span| Err(invalid_call("bad_request", message, label, span));
    match &call.get_flag_value("tail") {
        Some(said @ Value::Int { val, .. }) if *val < 0 => {
            refused("must not be negative", "cannot show a negative number of lines", said.span())
        }
        Some(Value::Int { val, .. }) => Ok(Some(val.to_string())),
        Some(Value::String { val, .. }) if val == ALL => Ok(Some(i32::MAX.to_string())),
        Some(said) => refused("a number, or `all`", "cannot use this as a number of lines", said.span()),
        None if since => Ok(None),
        None if follow => Ok(Some(FOLLOW_TAIL.to_string())),
        None => Ok(Some(DEFAULT_TAIL.to_string())),
    }
}

fn since(call: &EvaluatedCall) -> Result<Option<String>, LabeledError> {
    let Some(value) = call.get_flag_value("since") else {
        return Ok(None);
    };
    let time = match &value {
        Value::Duration { val, .. } if *val >= 0 => {
            Timestamp::now().checked_sub(SignedDuration::from_nanos(*val)).ok()
        }
        Value::Date { val, .. } => val.to_rfc3339().parse().ok(),
        Value::String { val, .. } => val.parse().ok(),
        _ => None,
    };
    let time = time.ok_or_else(|| {
        invalid_call(
            "bad_request",
            "cannot use this as a point in time",
            "expected a duration or a datetime",
            value.span(),
        )
        .with_help("for example `--since 10min` or `--since ((date now) - 1hr)`")
    })?;
    Ok(Some(time.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nu_protocol::{IntoSpanned, Span};

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
        for odd in [Value::test_int(3), Value::test_duration(-1)] {
            assert_eq!(with(odd).unwrap_err().code.as_deref(), Some("service::bad_request"));
        }
    }
}
