//! The rows of the journal: events, history, starts.

use super::{Row, date, integer, string, took};
use nu_protocol::{Span, Value, record};
use service_api::Event;
use service_api::event::{HistoryEntry, StartRecord};

impl Row for Event {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["seq", "service", "from", "to"];

    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "seq" => Value::int(i64::try_from(self.seq).unwrap_or(i64::MAX), span),
                "time" => date(self.time, span),
                "service" => string(self.service, span),
                "event" => Value::string(self.event, span),
                "from" => string(self.from, span),
                "to" => string(self.to, span),
                "reason" => string(self.reason, span),
            },
            span,
        )
    }
}

/// An event with all columns, including the cause and the exit of a run.
pub struct Long(pub Event);

impl Row for Long {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["seq", "service", "from", "to", "by"];

    fn into_row(self, span: Span) -> Value {
        let event = self.0;
        let more = record! {
            "by" => string(event.by.clone(), span),
            "run" => run(event.run, span),
            "exit_code" => integer(event.exit_code, span),
            "exit_signal" => string(event.exit_signal.clone(), span),
            "need" => string(event.need.clone(), span),
        };
        let mut row = event.into_row(span);
        if let Value::Record { val, .. } = &mut row {
            val.to_mut().extend(more);
        }
        row
    }
}

impl Row for HistoryEntry {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["service", "kind", "to", "healthy"];

    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "time" => date(self.time, span),
                "service" => Value::string(self.service, span),
                "kind" => Value::string(self.kind, span),
                "from" => string(self.from, span),
                "to" => string(self.to, span),
                "run" => run(self.run, span),
                "healthy" => self.healthy.map_or(Value::nothing(span), |healthy| Value::bool(healthy, span)),
                "latency" => self.latency_ms.map_or(Value::nothing(span), |ms| took(ms, span)),
                "exit_code" => integer(self.exit_code, span),
                "exit_signal" => string(self.exit_signal, span),
                "message" => string(self.message, span),
            },
            span,
        )
    }
}

impl Row for StartRecord {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["service", "waited_for", "took"];

    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "service" => Value::string(self.service, span),
                "run" => run(self.run, span),
                "waited_for" => string(self.waited_for, span),
                "waited" => took(self.waited_ms, span),
                "took" => self.took_ms.map_or(Value::nothing(span), |ms| took(ms, span)),
                "result" => Value::string(self.result, span),
                "began" => date(self.began, span),
            },
            span,
        )
    }
}

fn run(run: Option<u64>, span: Span) -> Value {
    integer(run.map(|run| i64::try_from(run).unwrap_or(i64::MAX)), span)
}
