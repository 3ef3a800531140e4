//! Tests that the document is complete, that its examples have their types, and that the copy in `docs/` is up to date.

use crate::router;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use service_api::{ActionRequest, ApplyRequest, Event, Outcome, Problem, event, view};

fn document() -> Value {
    serde_json::from_slice(&router::document()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let methods = document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation.clone()))
    });
    methods.collect()
}

/// Every value in a document, with the values inside it.
fn all(value: &Value) -> Vec<&Value> {
    let inside: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    std::iter::once(value).chain(inside.into_iter().flat_map(all)).collect()
}

#[test]
fn docs_openapi_json_is_the_document_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("SERVICE_REWRITE_GOLDEN").is_some() {
        std::fs::write(path, router::document()).unwrap();
    }
    let copy = std::fs::read(path).unwrap_or_default();
    assert!(
        copy == router::document(),
        "docs/openapi.json is outdated: SERVICE_REWRITE_GOLDEN=1 rewrites it"
    );
}

#[test]
fn every_operation_has_words_a_name_of_its_own_and_examples() {
    let operations = operations(&document());
    let mut names = std::collections::BTreeSet::new();
    for (what, operation) in &operations {
        for word in ["summary", "description", "operationId"] {
            assert!(operation[word].as_str().is_some_and(|text| !text.is_empty()), "{what} has no {word}");
        }
        assert!(names.insert(operation["operationId"].to_string()), "{what}: its operationId is another's");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{what} has one tag");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(
                parameter["schema"].is_object() && parameter["description"].is_string(),
                "{what}: {parameter}"
            );
        }
        let bodies = operation["responses"].as_object().unwrap().values().chain([&operation["requestBody"]]);
        for content in bodies.flat_map(|body| body["content"].as_object().into_iter().flatten()) {
            let example = &content.1["example"];
            assert!(!example.is_null(), "{what}: {} has no example", content.0);
            assert!(example["data"] != json!([null]), "{what}: {example} is no example");
        }
    }
    assert!(operations.len() > 20);
}

#[test]
fn nothing_is_referred_to_that_is_not_there() {
    let document = document();
    for reference in all(&document).into_iter().filter_map(|value| value["$ref"].as_str()) {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
}

#[test]
fn no_words_are_those_of_rust() {
    let document = document();
    let said = all(&document).into_iter().filter_map(|value| value["description"].as_str());
    let strange: Vec<&str> = said.filter(|text| text.contains("[`") || text.contains("::")).collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn what_is_a_time_is_one_for_who_generates_types() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for (row, field) in [
        ("Event", "time"),
        ("HistoryEntry", "time"),
        ("StartRecord", "began"),
        ("Health", "checked"),
        ("LastCheck", "checked"),
        ("NextRetry", "at"),
        ("Details", "since"),
        ("Why", "since"),
    ] {
        assert_eq!(schemas[row]["properties"][field]["format"], "date-time", "{row}.{field}");
    }
}

#[test]
fn it_says_that_a_token_may_be_asked_for() {
    let document = document();
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    assert_eq!(document["security"], json!([{}, {"token": []}]), "the socket requires no token");
}

#[test]
fn who_adds_a_service_finds_every_key_of_one() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let parts = ["Definition", "Edge", "HealthKeys", "ReadyKeys", "BackoffKeys", "LogKeys"];
    let known: Vec<&str> = parts
        .iter()
        .flat_map(|part| schemas[part]["properties"].as_object().unwrap().keys().map(String::as_str))
        .collect();
    let read = concat!(
        include_str!("../../../service-config/src/load/definition.rs"),
        include_str!("../../../service-config/src/load/container.rs")
    );
    let words =
        ["string", "flag", "read", "duration", "number", "choice", "list", "section", "get", "environment"];
    let calls = words.map(|word| format!(".{word}(\"")).into_iter().chain(["list(section, \"".to_owned()]);
    let keys: Vec<&str> = calls
        .flat_map(|call| read.split(&*call).skip(1).collect::<Vec<_>>())
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        assert!(known.contains(&key), "`{key}` is a key of a service");
    }
}

#[test]
fn every_row_has_an_example_of_its_own() {
    fn fits<T: DeserializeOwned + Serialize>(rows: &mut Map<String, Value>, name: &str) {
        let row = rows.remove(name).unwrap_or_else(|| panic!("`{name}` has no example"));
        let read: T = serde_json::from_value(row.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(serde_json::to_value(read).unwrap(), row, "{name}");
    }
    let mut rows: Map<String, Value> =
        serde_json::from_str(include_str!("../../../service-openapi/src/examples.json")).unwrap();
    let rows = &mut rows;
    fits::<view::Service>(rows, "Service");
    fits::<view::Step>(rows, "Step");
    fits::<view::Change>(rows, "Change");
    fits::<view::Node>(rows, "Node");
    fits::<view::Status>(rows, "Status");
    fits::<view::Health>(rows, "Health");
    fits::<view::Why>(rows, "Why");
    fits::<view::LogLine>(rows, "LogLine");
    fits::<view::Version>(rows, "Version");
    fits::<view::Daemon>(rows, "Daemon");
    fits::<Event>(rows, "Event");
    fits::<event::HistoryEntry>(rows, "HistoryEntry");
    fits::<event::StartRecord>(rows, "StartRecord");
    fits::<view::Manager>(rows, "Manager");
    fits::<service_api::DaemonHealth>(rows, "DaemonHealth");
    fits::<Outcome>(rows, "Outcome");
    fits::<Problem>(rows, "Problem");
    fits::<ActionRequest>(rows, "ActionRequest");
    fits::<ApplyRequest>(rows, "ApplyRequest");
    rows.retain(|name, _| !["ServiceActionRequest", "Definitions"].contains(&name.as_str()));
    assert!(rows.is_empty(), "{rows:?} are not types of the document");
}
