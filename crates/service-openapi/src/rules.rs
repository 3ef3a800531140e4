//! Rules between the fields of a body, which types cannot express. Each rule is a `not` schema: validators apply it,
//! and code generators ignore it. For a `oneOf`, a generator would create two classes for each request.

use serde_json::{Value, json};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::{OpenApi, RefOr, Schema};

pub(super) fn write(document: &mut OpenApi) {
    for (name, refused) in [("ActionRequest", neither_or_both()), ("Definitions", persistent_without_name())]
    {
        let schemas = document.components.as_mut().map(|components| &mut components.schemas);
        let Some(RefOr::T(Schema::Object(body))) = schemas.and_then(|schemas| schemas.get_mut(name)) else {
            panic!("the document has no `{name}`")
        };
        body.extensions = Some(Extensions::from_iter([("not", refused)]));
    }
}

/// A request without services, and one for all services that also has names.
fn neither_or_both() -> Value {
    json!({"anyOf": [
        {"properties": {"names": {"maxItems": 0}, "all": {"enum": [false]}}},
        {"required": ["names", "all"], "properties": {"names": {"minItems": 1}, "all": {"enum": [true]}}},
    ]})
}

/// A persistent service without a name.
fn persistent_without_name() -> Value {
    json!({
        "required": ["services"],
        "properties": {
            "transient": {"enum": [false]},
            "services": {"contains": {"properties": {"name": {"type": "null"}}}},
        },
    })
}
