//! [`Row`]: converts each view to a Nushell record. Columns are constant and typed; unknown values are null.

pub mod events;
mod pruned;
mod status;
mod unit;
mod why;

use crate::error;
use nu_protocol::{IntoPipelineData, PipelineData, PipelineMetadata, Span, Value, record};
use service_api::{Finding, Outcome, Project, view};
use std::path::PathBuf;

/// A view that is one row of a table.
pub trait Row {
    /// Columns that keep their width on a narrow terminal.
    const PRIORITY_COLUMNS: &'static [&'static str] = &["name"];

    /// The record of this row.
    fn into_row(self, span: Span) -> Value;
}

/// A table of these rows.
pub fn table<R: Row>(rows: Vec<R>, span: Span) -> PipelineData {
    let rows = rows.into_iter().map(|row| row.into_row(span)).collect();
    Value::list(rows, span).into_pipeline_data_with_metadata(metadata::<R>(span))
}

/// The display hints for a table of these rows.
pub fn metadata<R: Row>(span: Span) -> PipelineMetadata {
    PipelineMetadata::default().with_table_width_priority_columns(span, R::PRIORITY_COLUMNS)
}

impl Row for view::Service {
    fn into_row(self, span: Span) -> Value {
        let dependencies = self.dependencies.into_iter().map(|need| need.name).collect();
        Value::record(
            record! {
                "name" => Value::string(self.name, span),
                "description" => Value::string(self.description, span),
                "dependencies" => strings(dependencies, span),
                "manager" => Value::string(self.manager, span),
                "start_command" => Value::string(self.start_command, span),
                "stop_command" => string(self.stop_command, span),
                "health_check_endpoint" => string(self.health_check_endpoint, span),
                "origin" => Value::string(self.origin, span),
                "auto" => Value::bool(self.auto, span),
            },
            span,
        )
    }
}

impl Row for view::Step {
    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "step" => count(self.step, span),
                "name" => Value::string(self.name, span),
                "level" => count(self.level, span),
                "dependencies" => strings(self.dependencies, span),
            },
            span,
        )
    }
}

impl Row for view::Change {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["service", "change", "warning"];

    fn into_row(self, span: Span) -> Value {
        let mut row = record! {
            "service" => Value::string(self.service, span),
            "change" => Value::string(self.change, span),
            // The keys are text, because a terminal of 80 columns would not show the items of a list.
            "because" => Value::string(self.because.join(", "), span),
            "affects" => Value::string(self.affects.join(", "), span),
        };
        // This column exists only if it has a value, because it rarely has one.
        if !self.warnings.is_empty() {
            row.push("warning", Value::string(self.warnings.join("; "), span));
        }
        Value::record(row, span)
    }
}

impl Row for view::Node {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["name", "state"];

    fn into_row(self, span: Span) -> Value {
        let dependencies = self.dependencies.into_iter().map(|need| need.name).collect();
        Value::record(
            record! {
                "name" => Value::string(self.name, span),
                "level" => count(self.level, span),
                "dependencies" => strings(dependencies, span),
                "dependents" => strings(self.dependents, span),
                "state" => Value::string(self.state, span),
            },
            span,
        )
    }
}

impl Row for Finding {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["severity", "message"];

    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "severity" => Value::string(self.severity.as_str(), span),
                "service" => string(self.service, span),
                "key" => string(self.key, span),
                "line" => self.line.map_or(Value::nothing(span), |line| count(line, span)),
                "message" => Value::string(self.message, span),
                "file" => Value::string(self.file, span),
                "column" => self.column.map_or(Value::nothing(span), |column| count(column, span)),
                "help" => string(self.help, span),
            },
            span,
        )
    }
}

impl Row for Outcome {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["error"];

    fn into_row(self, span: Span) -> Value {
        // This column exists only if it has a value, because it rarely has one.
        let note = self.note.map(|note| Value::string(note, span));
        let mut row = Value::record(
            record! {
                "name" => Value::string(self.name, span),
                "ok" => Value::bool(self.ok, span),
                "action" => Value::string(self.action.as_str(), span),
                "status" => Value::string(self.status, span),
                "health" => Value::string(self.health, span),
                "took" => took(self.took_ms, span),
                "error" => string(self.error.as_ref().map(error::cell), span),
            },
            span,
        );
        if let (Value::Record { val, .. }, Some(note)) = (&mut row, note) {
            val.to_mut().push("note", note);
        }
        row
    }
}

impl Row for view::Health {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["name", "healthy", "message"];

    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "name" => Value::string(self.name, span),
                "healthy" => self.healthy.map_or(Value::nothing(span), |healthy| Value::bool(healthy, span)),
                "kind" => Value::string(self.kind, span),
                "message" => Value::string(self.message, span),
                "latency" => took(self.latency_ms, span),
                "checked" => date(self.checked, span),
                "endpoint" => string(self.endpoint, span),
            },
            span,
        )
    }
}

impl Row for view::Manager {
    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "name" => Value::string(self.name, span),
                "commands" => Value::string(self.commands.join(", "), span),
                "present" => self.present.map_or(Value::nothing(span), |present| Value::bool(present, span)),
                "program" => string(self.program, span),
                "version" => string(self.version, span),
                "services" => count(self.services, span),
                "contract" => integer(self.contract, span),
                "module" => Value::string(self.module, span),
                "message" => string(self.message, span),
            },
            span,
        )
    }
}

impl Row for view::LogLine {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["line"];

    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "time" => date(self.time, span),
                "service" => Value::string(self.service, span),
                "stream" => Value::string(self.stream, span),
                "line" => Value::string(self.line, span),
            },
            span,
        )
    }
}

impl Row for view::Daemon {
    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "running" => Value::bool(true, span),
                "version" => Value::string(self.version, span),
                "pid" => Value::int(self.pid.into(), span),
                "socket" => Value::string(self.socket, span),
                "project" => Value::string(self.project, span),
                "uptime" => uptime(self.uptime_ms, span),
                "services_running" => count(self.services_running, span),
                "listen" => string(self.listen, span),
                "unit" => string(self.unit, span),
                "log" => Value::string(self.log, span),
            },
            span,
        )
    }
}

/// The row of a daemon that does not run.
pub fn no_daemon(project: Option<&Project>, span: Span) -> Value {
    let nothing = || Value::nothing(span);
    let path = |path: PathBuf| Value::string(path.display().to_string(), span);
    Value::record(
        record! {
            "running" => Value::bool(false, span),
            "version" => nothing(),
            "pid" => nothing(),
            "socket" => nothing(),
            "project" => project.map_or_else(nothing, |project| path(project.config.clone())),
            "uptime" => nothing(),
            "services_running" => nothing(),
            "listen" => nothing(),
            "unit" => nothing(),
            "log" => project.map_or_else(nothing, |project| path(project.log())),
        },
        span,
    )
}

/// A string; null if it is absent.
pub fn string(text: Option<String>, span: Span) -> Value {
    text.map_or(Value::nothing(span), |text| Value::string(text, span))
}

/// A list of strings.
pub fn strings(texts: Vec<String>, span: Span) -> Value {
    Value::list(texts.into_iter().map(|text| Value::string(text, span)).collect(), span)
}

/// An integer; null if it is absent.
pub fn integer(number: Option<impl Into<i64>>, span: Span) -> Value {
    number.map_or(Value::nothing(span), |number| Value::int(number.into(), span))
}

fn filesize(bytes: Option<u64>, span: Span) -> Value {
    bytes
        .map_or(Value::nothing(span), |bytes| Value::filesize(i64::try_from(bytes).unwrap_or(i64::MAX), span))
}

/// A count as an integer.
pub fn count(number: usize, span: Span) -> Value {
    Value::int(i64::try_from(number).unwrap_or(i64::MAX), span)
}

/// A duration in milliseconds, or in microseconds below one millisecond.
fn took(ms: f64, span: Span) -> Value {
    duration(if ms < 1.0 { (ms * 1e3).round() * 1e3 } else { ms.round() * 1e6 }, span)
}

/// An uptime in seconds, or in milliseconds within the first second.
fn uptime(ms: f64, span: Span) -> Value {
    duration(if ms < 1e3 { ms.floor() * 1e6 } else { (ms / 1e3).floor() * 1e9 }, span)
}

#[expect(clippy::cast_possible_truncation, reason = "a float beyond i64 becomes the nearest i64, 292 years")]
fn duration(nanoseconds: f64, span: Span) -> Value {
    Value::duration(nanoseconds as i64, span)
}

/// A datetime in the local time zone, like Nushell's own. Text that is not a datetime, for example from a newer daemon,
/// remains text.
fn date(rfc3339: String, span: Span) -> Value {
    match rfc3339.parse::<chrono::DateTime<chrono::FixedOffset>>() {
        Ok(time) => Value::date(time.with_timezone(&chrono::Local).fixed_offset(), span),
        Err(_) if rfc3339.is_empty() => Value::nothing(span),
        Err(_) => Value::string(rfc3339, span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_api::{Action, Code, Problem};

    pub(super) const SPAN: Span = Span::test_data();

    pub(super) fn columns(value: &Value) -> Vec<String> {
        value.as_record().unwrap().columns().cloned().collect()
    }

    pub(super) fn get(value: &Value, column: &str) -> Value {
        value.as_record().unwrap().get(column).unwrap().clone()
    }

    #[test]
    fn an_outcome_tells_its_error_with_the_way_out() {
        let outcome = Outcome {
            name: "web".into(),
            ok: false,
            action: Action::Failed,
            status: "failed".into(),
            health: "none".into(),
            took_ms: 0.25,
            named: true,
            error: Some(Problem::new(Code::StartFailed, "cannot start `web`").help("run `service logs web`")),
            note: None,
        };
        let row = outcome.into_row(SPAN);
        assert_eq!(columns(&row), ["name", "ok", "action", "status", "health", "took", "error"]);
        assert_eq!(get(&row, "took"), Value::test_duration(250_000));
        assert_eq!(get(&row, "error"), Value::test_string("cannot start `web` (run `service logs web`)"));
    }
}
