//! The OpenAPI document. Its sources are the router, and the doc comments of handlers and types; `examples.json` has
//! the rows for the example of every body. A test compares the document with its copy `docs/openapi.json`.

#![allow(missing_docs, reason = "the doc comment of a type is text of the document")]

mod definition;
mod rules;
mod shapes;

pub use definition::*;
pub use shapes::*;

use serde_json::{Map, Value, json};
use utoipa::openapi::path::Operation;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, RefOr, Required, Schema};
use utoipa::{Modify, OpenApi};

/// The groups of operations.
pub mod tag {
    pub const SERVICES: &str = "services";
    pub const ACTIONS: &str = "wishes";
    pub const LOGS: &str = "logs";
    pub const EVENTS: &str = "events";
    pub const DAEMON: &str = "daemon";
}

/// The common parts of all operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "service-orchestrator",
        version = "1",
        description = "The API of one project's `orchestratord`. Every answer is JSON in one envelope, `{ \
                       success, data, error }`; `error.code` is for programs, `error.message` and \
                       `error.help` for people. With `Accept: application/x-ndjson` many answers are streams \
                       of one envelope a line. Durations are milliseconds (`*_ms`), sizes bytes, times RFC \
                       3339 in UTC. Fields may be added; a client ignores those it does not know. A method \
                       that a route does not have is answered with 405, `bad_request` and `Allow`.",
        contact(),
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = tag::SERVICES, description = "Definitions and states of services."),
        (name = tag::ACTIONS, description = "Starting, stopping, adding, changing. An accepted action returns \
                                            200 and a row for each service, even if a row failed."),
        (name = tag::LOGS, description = "Logs of services."),
        (name = tag::EVENTS, description = "Events."),
        (name = tag::DAEMON, description = "The daemon itself."),
    ),
    components(schemas(
        Failed, Awaited, Drawing, Since, Number, Moment, OutcomesAnswer, OutcomeOnALine, LogLinesAnswer, LogLineOnALine
    )),
    security((), ("token" = [])),
    modifiers(&Token),
)]
pub struct Document;

/// The bearer token on TCP.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let words =
            "Over TCP, the token `read` or `admin`. The socket needs none: its owner may do everything.";
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(words)).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The text of a document, completed with examples and the failures that all operations have in common.
///
/// # Panics
/// If `examples.json` is not JSON; a test reads it.
pub fn render(mut document: utoipa::openapi::OpenApi) -> String {
    rules::write(&mut document);
    let schemas = Examples::new(&document);
    for item in document.paths.paths.values_mut() {
        // Every POST may have a body, even if the route ignores it.
        for (operation, has_body) in [(&mut item.get, false), (&mut item.post, true)] {
            let Some(operation) = operation else { continue };
            for (status, failure) in shapes::common_failures(has_body) {
                operation.responses.responses.entry(status).or_insert(failure);
            }
            schemas.fill(operation);
        }
    }
    let mut text = document.to_pretty_json().expect("a document has only strings and numbers");
    text.push('\n');
    text
}

/// Creates an example of a body from its schema.
struct Examples {
    schemas: Value,
    rows: Map<String, Value>,
}

impl Examples {
    fn new(document: &utoipa::openapi::OpenApi) -> Self {
        let schemas = serde_json::to_value(&document.components).expect("components are JSON");
        let rows = serde_json::from_str(include_str!("examples.json")).expect("a test has read the examples");
        Self { schemas, rows }
    }

    fn fill(&self, operation: &mut Operation) {
        operation.request_body.iter_mut().filter_map(inline).for_each(mark_optional);
        let request = operation.request_body.iter_mut().filter_map(inline);
        let responses = operation.responses.responses.values_mut().filter_map(inline);
        let contents = request.flat_map(|request| request.content.values_mut());
        let contents = contents.chain(responses.flat_map(|response| response.content.values_mut()));
        for content in contents.filter_map(inline) {
            self.complete(content);
        }
    }

    fn complete(&self, content: &mut Content) {
        if content.example.is_none() {
            let schema = serde_json::to_value(&content.schema).unwrap_or_default();
            content.example = Some(self.example(&schema));
        }
    }

    /// The example of a schema: for a named type a row of `examples.json`, otherwise composed of the examples of its
    /// parts.
    fn example(&self, schema: &Value) -> Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            let made = || self.example(&self.schemas["schemas"][name]);
            return self.rows.get(name).cloned().unwrap_or_else(made);
        }
        if let Some(example) = schema.get("example") {
            return example.clone();
        }
        let choices = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|word| schema[word].as_array());
        if let Some(first) = choices.flatten().find(|choice| choice["type"] != "null") {
            return self.example(first);
        }
        if let Some(first) = schema["enum"].get(0) {
            return first.clone();
        }
        match schema["type"].as_str() {
            Some("object") => {
                let parts = schema["properties"].as_object().into_iter().flatten();
                parts.map(|(name, part)| (name.clone(), self.example(part))).collect::<Map<_, _>>().into()
            }
            Some("array") => json!([self.example(&schema["items"])]),
            _ => Value::Null,
        }
    }
}

/// Marks a body as optional, without allowing `null`: generators of clients do not support `null` there.
fn mark_optional(body: &mut RequestBody) {
    for content in body.content.values_mut().filter_map(inline) {
        if let Some(RefOr::T(Schema::OneOf(choice))) = &content.schema {
            content.schema = choice.items.first().cloned();
            body.required = Some(Required::False);
        }
    }
}

/// The inline value; `None` for a reference.
fn inline<T>(place: &mut RefOr<T>) -> Option<&mut T> {
    match place {
        RefOr::T(value) => Some(value),
        RefOr::Ref(_) => None,
    }
}
