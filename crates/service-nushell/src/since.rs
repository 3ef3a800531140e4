//! Converts `--since` to the form of the API: a duration before now, a datetime, or the number of an event.

use crate::error::invalid_call;
use jiff::{SignedDuration, Timestamp};
use nu_plugin::EvaluatedCall;
use nu_protocol::{LabeledError, Value};

/// The value of `--since`; `None` if it is absent.
pub fn since(call: &EvaluatedCall) -> Result<Option<String>, LabeledError> {
    let Some(value) = call.get_flag_value("since") else {
        return Ok(None);
    };
    let said = match &value {
        Value::Int { val, .. } => u64::try_from(*val).ok().map(|seq| seq.to_string()),
        Value::Duration { val, .. } if *val >= 0 => {
            Timestamp::now().checked_sub(SignedDuration::from_nanos(*val)).ok().map(|time| time.to_string())
        }
        Value::Date { val, .. } => val.to_rfc3339().parse().ok().map(|time: Timestamp| time.to_string()),
        Value::String { val, .. } => val.parse().ok().map(|time: Timestamp| time.to_string()),
        _ => None,
    };
    said.map(Some).ok_or_else(|| {
        let label = "expected a duration, a datetime or the number of an event";
        invalid_call("bad_request", "cannot use this as a point in time", label, value.span())
            .with_help("for example `--since 10min`, `--since ((date now) - 1hr)` or `--since 17`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nu_protocol::{IntoSpanned, Span};

    #[test]
    fn it_takes_a_number_a_duration_or_a_datetime_and_nothing_else() {
        let with = |value| {
            let name = "since".into_spanned(Span::test_data());
            since(&EvaluatedCall::new(Span::test_data()).with_named(name, value))
        };
        assert_eq!(with(Value::test_int(17)).unwrap().as_deref(), Some("17"));
        let date = Value::test_date("2026-01-01T02:00:00+02:00".parse().unwrap());
        assert_eq!(with(date).unwrap().as_deref(), Some("2026-01-01T00:00:00Z"));
        assert!(with(Value::test_duration(1_000_000_000)).unwrap().unwrap().ends_with('Z'));
        for odd in [
            Value::test_int(-1),
            Value::test_duration(-1),
            Value::test_string("soon"),
            Value::test_bool(true),
        ] {
            assert_eq!(with(odd).unwrap_err().code.as_deref(), Some("service::bad_request"));
        }
    }
}
