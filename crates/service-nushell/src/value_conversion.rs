//! Converts Nushell values to the keys of a definition, and finds the span of a cell.

use crate::error::invalid_call;
use nu_protocol::{LabeledError, Record, Span, Value};
use serde_json::{Map, Number, Value as Json};
use service_api::Cell;

const SECOND: i64 = 1_000_000_000;
const MILLISECOND: i64 = 1_000_000;

/// The keys of a record in the form of `services.toml`.
pub fn record_to_json(record: &Record) -> Result<Map<String, Json>, LabeledError> {
    record.iter().map(|(key, value)| Ok((key.clone(), to_json(value)?))).collect()
}

/// A value in the form of `services.toml`: durations become text, sizes become bytes.
pub fn to_json(value: &Value) -> Result<Json, LabeledError> {
    Ok(match value {
        Value::Nothing { .. } => Json::Null,
        Value::Bool { val, .. } => Json::Bool(*val),
        Value::Int { val, .. } => (*val).into(),
        Value::Float { val, .. } => Number::from_f64(*val).map_or(Json::Null, Json::Number),
        Value::String { val, .. } | Value::Glob { val, .. } => val.as_str().into(),
        Value::Duration { val, .. } => duration(*val).into(),
        Value::Filesize { val, .. } => val.get().into(),
        Value::List { vals, .. } => vals.iter().map(to_json).collect::<Result<_, _>>()?,
        Value::Record { val, .. } => Json::Object(record_to_json(val)?),
        Value::Error { error, .. } => return Err(LabeledError::from((**error).clone())),
        other => {
            let message = format!("cannot write a {} into a definition", other.get_type());
            return Err(invalid_call(
                "bad_definition",
                &message,
                "not allowed in a definition",
                other.span(),
            ));
        }
    })
}

/// A duration in whole units, so that a message shows the user's own value.
fn duration(nanoseconds: i64) -> String {
    match nanoseconds {
        whole if whole % SECOND == 0 => format!("{}s", whole / SECOND),
        whole if whole % MILLISECOND == 0 => format!("{}ms", whole / MILLISECOND),
        other => format!("{other}ns"),
    }
}

/// The span of this cell, or of the innermost existing value that contains it.
pub fn find_span(rows: &[Value], cell: &Cell) -> Option<Span> {
    let mut value = rows.get(cell.row)?;
    for key in &cell.path {
        match value.as_record().ok().and_then(|record| record.get(key)) {
            Some(inner) => value = inner,
            None => break,
        }
    }
    Some(value.span())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nu_protocol::{Filesize, record};

    #[test]
    fn durations_and_sizes_are_written_as_the_file_has_them() {
        let record = record! {
            "stop_timeout" => Value::test_duration(1_500_000_000),
            "memory_limit" => Value::test_filesize(Filesize::new(512_000_000)),
            "health" => Value::test_record(record! { "interval" => Value::test_duration(5_000_000_000) }),
            "user" => Value::test_nothing(),
        };
        let json = serde_json::json!({
            "stop_timeout": "1500ms", "memory_limit": 512_000_000, "health": {"interval": "5s"}, "user": null
        });
        assert_eq!(Json::Object(record_to_json(&record).unwrap()), json);
        let date = Value::test_date("2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(to_json(&date).unwrap_err().code.as_deref(), Some("service::bad_definition"));
    }

    #[test]
    fn a_cell_is_found_in_its_row_and_a_missing_one_is_the_row() {
        let inner = Value::int(5, Span::new(30, 31));
        let health = Value::record(record! { "interval" => inner }, Span::new(20, 40));
        let rows = [Value::test_nothing(), Value::record(record! { "health" => health }, Span::new(10, 50))];
        let at = |row, path: &[&str]| {
            find_span(&rows, &Cell { row, path: path.iter().map(|key| (*key).to_owned()).collect() })
        };
        assert_eq!(at(1, &["health", "interval"]), Some(Span::new(30, 31)));
        assert_eq!(at(1, &["start_command"]), Some(Span::new(10, 50)));
        assert_eq!(at(7, &[]), None);
    }
}
