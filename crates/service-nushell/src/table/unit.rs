//! The row of a systemd unit.

use super::{Row, string};
use nu_protocol::{Span, Value, record};
use service_api::Unit;

impl Row for Unit {
    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "unit" => Value::string(self.unit, span),
                "path" => Value::string(self.path, span),
                "enabled" => Value::bool(self.enabled, span),
                "at" => Value::string(self.at, span),
                "state" => Value::string(self.state, span),
                "services" => Value::string(self.services, span),
                "note" => string(self.note, span),
            },
            span,
        )
    }
}
