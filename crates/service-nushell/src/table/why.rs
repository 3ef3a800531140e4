//! The record of `service why`.

use super::{Row, date, integer, string, took};
use nu_protocol::{Span, Value, record};
use service_api::view;

impl Row for view::Why {
    fn into_row(self, span: Span) -> Value {
        let nothing = || Value::nothing(span);
        let log = self.log.into_iter().map(|line| line.into_row(span)).collect();
        Value::record(
            record! {
                "name" => Value::string(self.name, span),
                "summary" => Value::string(self.summary, span),
                "goal" => Value::string(self.goal, span),
                "state" => Value::string(self.state, span),
                "health" => Value::string(self.health, span),
                "since" => self.since.map_or_else(nothing, |time| date(time, span)),
                "waits_for" => self.waits_for.map_or_else(nothing, |edge| Value::record(record! {
                    "service" => Value::string(edge.service, span),
                    "condition" => Value::string(edge.condition, span),
                    "state" => Value::string(edge.state, span),
                    "waiting" => took(edge.waiting_ms, span),
                }, span)),
                "last_check" => self.last_check.map_or_else(nothing, |check| Value::record(record! {
                    "healthy" => Value::bool(check.healthy, span),
                    "message" => Value::string(check.message, span),
                    "latency" => took(check.latency_ms, span),
                    "checked" => date(check.checked, span),
                }, span)),
                "exit" => string(self.exit, span),
                "port_holder" => self.port_holder.map_or_else(nothing, |holder| Value::record(record! {
                    "port" => Value::int(holder.port.into(), span),
                    "pid" => integer(holder.pid, span),
                    "process" => string(holder.process, span),
                }, span)),
                "next_retry" => self.next_retry.map_or_else(nothing, |next| Value::record(record! {
                    "at" => date(next.at, span),
                    "in" => took(next.in_ms, span),
                }, span)),
                "log" => Value::list(log, span),
                "help" => string(self.help, span),
            },
            span,
        )
    }
}
