//! `with`: a table that only a service's manager understands. It is taken as it is and handed on as JSON.

use super::section::{Section, integer};
use serde_json::{Map, Value};
use service_core::config::Manager;
use toml::de::{DeTable, DeValue};

/// Reads the table; an error for who would never hand it on.
pub(super) fn read(section: &mut Section<'_>, manager: &Manager) -> Option<String> {
    let value = section.get("with")?;
    let Some(table) = value.get_ref().as_table() else {
        section.report(value.span(), "`with` should be a table");
        return None;
    };
    let who = match manager {
        Manager::Process => "who runs by itself",
        Manager::BuiltIn(name) if name == "command" => "whose manager is \"command\"",
        Manager::BuiltIn(_) | Manager::Module(_) => return Some(object(table).to_string()),
    };
    section.report(value.span(), format!("`with` is for a manager that reads it, not for a service {who}"));
    None
}

fn object(table: &DeTable<'_>) -> Value {
    let pairs = table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => integer::<u64>(value).map_or_else(|| Value::from(number.as_str()), Value::from),
        },
        // JSON has no word for infinity.
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_or_else(|_| Value::from(number.as_str()), Value::from)
        }
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(values) => values.iter().map(|value| json(value.get_ref())).collect(),
        DeValue::Table(table) => object(table),
    }
}
