//! The rows of `service status`, short and long.

use super::{Row, date, filesize, integer, string, strings, uptime};
use nu_protocol::{Record, Span, Value, record};
use service_api::view;

impl Row for view::Status {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["name", "state", "health"];

    fn into_row(self, span: Span) -> Value {
        let age = if self.details.is_some() { uptime } else { short_uptime };
        let mut row = record! {
            "name" => Value::string(self.name, span),
            "status" => Value::string(self.status, span),
            "state" => Value::string(self.state, span),
            "health" => Value::string(self.health, span),
            "pid" => integer(self.pid, span),
            "uptime" => self.uptime_ms.map_or(Value::nothing(span), |ms| age(ms, span)),
            "memory" => filesize(self.memory, span),
            "restarts" => Value::int(self.restarts.into(), span),
        };
        if let Some(details) = self.details {
            push_details(&mut row, details, span);
        }
        Value::record(row, span)
    }
}

fn push_details(row: &mut Record, details: view::Details, span: Span) {
    let nothing = Value::nothing(span);
    // The most important columns come first, because a terminal shows only the beginning of a wide table.
    row.push("reason", string(details.reason, span));
    row.push("cpu", details.cpu.map_or(nothing.clone(), |percent| Value::float(percent, span)));
    row.push("since", details.since.map_or(nothing.clone(), |time| date(time, span)));
    row.push("exit_code", integer(details.exit_code, span));
    row.push("exit_signal", string(details.exit_signal, span));
    row.push("memory_limit", filesize(details.memory_limit, span));
    row.push("cpu_limit", details.cpu_limit.map_or(nothing, |cores| Value::float(cores, span)));
    row.push("limits", string(details.limits, span));
    row.push("dependencies", strings(details.dependencies, span));
    row.push("command", Value::string(details.command, span));
    row.push("cwd", Value::string(details.cwd, span));
    row.push("log", string(details.log, span));
    row.push("id", string(details.id, span));
    row.push("project", Value::string(details.project, span));
}

/// An uptime in at most two units: minutes from ten minutes on, hours from a day on, days from a week on.
fn short_uptime(ms: f64, span: Span) -> Value {
    const MINUTE: f64 = 60e3;
    const HOUR: f64 = 60.0 * MINUTE;
    const DAY: f64 = 24.0 * HOUR;
    let unit = match ms {
        _ if ms < 10.0 * MINUTE => return uptime(ms, span),
        _ if ms < DAY => MINUTE,
        _ if ms < 7.0 * DAY => HOUR,
        _ => DAY,
    };
    uptime((ms / unit).floor() * unit, span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::{SPAN, columns, get};

    fn status(details: Option<view::Details>) -> Value {
        view::Status {
            name: "web".into(),
            status: "running".into(),
            state: "ready".into(),
            health: "healthy".into(),
            pid: None,
            uptime_ms: Some(1500.5),
            memory: Some(2048),
            restarts: 1,
            details,
        }
        .into_row(SPAN)
    }

    #[test]
    fn a_status_has_typed_cells_and_null_for_the_unknown() {
        let row = status(None);
        assert_eq!(
            columns(&row),
            ["name", "status", "state", "health", "pid", "uptime", "memory", "restarts"]
        );
        assert_eq!(get(&row, "pid"), Value::test_nothing());
        assert_eq!(get(&row, "uptime"), Value::test_duration(1_000_000_000));
        assert_eq!(get(&row, "memory"), Value::test_filesize(2048));
    }

    #[test]
    fn a_long_status_adds_its_columns_at_the_end() {
        let details = view::Details {
            cpu: Some(1.5),
            since: Some("2026-01-02T03:04:05.6Z".into()),
            exit_code: Some(-1),
            exit_signal: None,
            command: "web".into(),
            cwd: "/".into(),
            log: None,
            dependencies: vec!["db".into()],
            memory_limit: Some(512_000_000),
            cpu_limit: Some(0.5),
            limits: Some("cgroup".into()),
            reason: None,
            id: Some("c0ffee".into()),
            project: "/p/services.toml".into(),
        };
        let row = status(Some(details));
        assert_eq!(
            columns(&row)[8..],
            [
                "reason",
                "cpu",
                "since",
                "exit_code",
                "exit_signal",
                "memory_limit",
                "cpu_limit",
                "limits",
                "dependencies",
                "command",
                "cwd",
                "log",
                "id",
                "project"
            ]
        );
        let since: chrono::DateTime<chrono::FixedOffset> = "2026-01-02T03:04:05.600Z".parse().unwrap();
        assert_eq!(get(&row, "since").as_date().unwrap(), since);
        assert_eq!(get(&row, "exit_code"), Value::test_int(-1));
        assert_eq!(get(&row, "memory_limit"), Value::test_filesize(512_000_000));
        assert_eq!(get(&row, "cpu_limit"), Value::test_float(0.5));
    }

    #[test]
    fn a_short_uptime_has_two_units_at_most() {
        let (second, minute, hour) = (1_000.0, 60_000.0, 3_600_000.0);
        for (is, shown) in [
            (500.0, "500ms"),
            (10.0 * minute - 1.0, "9min 59sec"),
            (10.0 * minute + 59.0 * second, "10min"),
            (24.0 * hour - 1.0, "23hr 59min"),
            (49.0 * hour + 59.0 * minute, "2day 1hr"),
            (200.0 * hour, "1wk 1day"),
        ] {
            let cell = short_uptime(is, SPAN);
            assert_eq!(cell.to_expanded_string("", &nu_protocol::Config::default()), shown);
        }
    }
}
