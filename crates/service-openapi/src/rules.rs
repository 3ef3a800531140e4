//! What is refused and no type says: rules between the fields of a body. Each is a `not`, which who checks a body
//! understands, and who generates types passes over: a choice of two types would make every wish one of two classes.

use serde_json::{Value, json};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::{OpenApi, RefOr, Schema};

pub(super) fn write(document: &mut OpenApi) {
    for (name, refused) in [("ActionRequest", neither_or_both()), ("Definitions", nameless())] {
        let schemas = document.components.as_mut().map(|components| &mut components.schemas);
        let Some(RefOr::T(Schema::Object(body))) = schemas.and_then(|schemas| schemas.get_mut(name)) else {
            panic!("the document has no `{name}`")
        };
        body.extensions = Some(Extensions::from_iter([("not", refused)]));
    }
}

/// A wish for nobody, and one for all that has names too.
fn neither_or_both() -> Value {
    json!({"anyOf": [
        {"properties": {"names": {"maxItems": 0}, "all": {"enum": [false]}}},
        {"required": ["names", "all"], "properties": {"names": {"minItems": 1}, "all": {"enum": [true]}}},
    ]})
}

/// A service that stays and has no name.
fn nameless() -> Value {
    json!({
        "required": ["services"],
        "properties": {
            "transient": {"enum": [false]},
            "services": {"contains": {"properties": {"name": {"type": "null"}}}},
        },
    })
}
