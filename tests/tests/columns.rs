//! The columns of the plain front (`nu/service-http/rows.nu`) follow `docs/openapi.json`: a new field of the API
//! becomes a column there, or is listed here as left out.

use serde_json::Value;
use std::collections::BTreeSet;

/// The rows of one command in `rows.nu`, and the origin of their columns.
struct Rows {
    command: &'static str,
    schema: &'static str,
    /// Fields of the API without a column.
    left_out: &'static [&'static str],
    /// Columns without a field of the API.
    added: &'static [&'static str],
}

const fn rows(command: &'static str, schema: &'static str) -> Rows {
    Rows { command, schema, left_out: &[], added: &[] }
}

impl Rows {
    const fn without(self, left_out: &'static [&'static str]) -> Self {
        Self { left_out, ..self }
    }

    const fn with(self, added: &'static [&'static str]) -> Self {
        Self { added, ..self }
    }
}

const ROWS: [Rows; 15] = [
    rows("service", "Service"),
    rows("step", "Step"),
    rows("node", "Node"),
    // The warnings are joined into one text.
    rows("change", "Change").without(&["warnings"]).with(&["warning"]),
    rows("outcome", "Outcome").without(&["named"]),
    rows("status", "Status"),
    rows("details", "Details"),
    rows("health", "Health"),
    rows("manager", "Manager"),
    rows("line", "LogLine").without(&["continues", "partial"]),
    rows("event-long", "Event").without(&["boot_id", "since_boot_ms"]),
    rows("past", "HistoryEntry"),
    rows("begun", "StartRecord"),
    rows("daemon", "Daemon").without(&["descriptors", "services", "tasks"]).with(&["running"]),
    rows("why", "Why"),
];

#[test]
fn the_columns_of_the_plain_front_are_the_fields_of_the_api() {
    let rows = read("nu/service-http/rows.nu");
    let document: Value = serde_json::from_str(&read("docs/openapi.json")).expect("it is JSON");
    for Rows { command, schema, left_out, added } in ROWS {
        let mut fields = BTreeSet::new();
        collect_fields(&document["components"]["schemas"], schema, &mut fields);
        let mut expected: BTreeSet<String> = fields.iter().map(|field| column(field)).collect();
        for name in left_out {
            assert!(expected.remove(&column(name)), "`{schema}` has no field `{name}`: do not list it");
        }
        expected.extend(added.iter().map(|name| (*name).to_owned()));
        let mut columns = columns(&rows, command);
        if command == "event-long" {
            columns.extend(self::columns(&rows, "event"));
        }
        assert_eq!(columns, expected, "columns of `{command}` and fields of `{schema}`");
    }
}

/// The column of a field. A field with a unit becomes a duration, whose column has no unit.
fn column(field: &str) -> String {
    field.strip_suffix("_ms").unwrap_or(field).to_owned()
}

/// The names of a schema's properties.
fn collect_fields(schemas: &Value, schema: &str, fields: &mut BTreeSet<String>) {
    let schema = &schemas[schema];
    assert!(schema.is_object(), "docs/openapi.json has this schema");
    let parts = schema["allOf"].as_array().map_or_else(|| vec![schema], |parts| parts.iter().collect());
    for properties in parts.iter().filter_map(|part| part["properties"].as_object()) {
        fields.extend(properties.keys().cloned());
    }
}

/// The keys of the record that a command of `rows.nu` creates.
fn columns(rows: &str, command: &str) -> BTreeSet<String> {
    let heads = ["[]", "[it: record]", "[long: bool]"].map(|signature| format!("def {command} {signature}"));
    let start = heads.iter().find_map(|head| rows.find(head.as_str()));
    let text = &rows[start.unwrap_or_else(|| panic!("rows.nu has a command `{command}`"))..];
    // A command ends with a brace at the end of its first line, or at the beginning of a line.
    let body = match text.lines().next() {
        Some(line) if line.ends_with('}') => line,
        _ => text.split("\n}\n").next().unwrap_or_default(),
    };
    body.lines().flat_map(keys).filter(|key| is_key(key)).map(str::to_owned).collect()
}

/// The keys of one line: of a whole record, of an optional column, or at the beginning of the line.
fn keys(line: &str) -> Vec<&str> {
    let line = line.trim_start();
    if let Some((_, record)) = line.split_once("|it| { ") {
        return record.split_whitespace().filter_map(|word| word.strip_suffix(':')).collect();
    }
    // `} | merge (if … { { note: $it.note } })`
    let optional = line.starts_with("} | merge").then(|| line.split_once("{ { ")).flatten();
    let line = optional.map_or(line, |(_, record)| record);
    line.split_once(": ").map(|(key, _)| key).into_iter().collect()
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn read(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
