//! `with`: a table for the manager of a service. The manager receives the table unchanged, as JSON. Only the keys of
//! built-in managers are checked here.

use super::section::{Section, integer};
use serde_json::{Map, Value};
use service_core::config::Manager;
use toml::de::{DeTable, DeValue};

/// Reads the table. If the manager of the service has no `with`, an error is reported.
pub(super) fn read(section: &mut Section<'_>, manager: &Manager) -> Option<String> {
    let table = section.read("with", "a table", DeValue::as_table)?;
    let who = match manager {
        Manager::Process => "with `manager = \"process\"`",
        Manager::BuiltIn(name) if name == "command" => "with `manager = \"command\"`",
        Manager::BuiltIn(name) => {
            check_keys(section, name);
            return Some(object(table).to_string());
        }
        Manager::Module(_) => return Some(object(table).to_string()),
    };
    let span = section.span_of("with").unwrap_or_default();
    section.report(span, format!("`with` is for a manager that reads it, not for a service {who}"));
    None
}

/// Checks the keys of a built-in manager, which its module lists as `WITH`.
fn check_keys(section: &Section<'_>, manager: &str) {
    let Some(mut with) = section.inner("with") else { return };
    match manager {
        "systemd" => {
            with.string("unit", drop);
            with.choice("scope", &[("system", ()), ("user", ())], &mut ());
        }
        // The manager is a container engine.
        _ => drop(with.list("options")),
    }
    with.reject_unknown_keys();
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
        // JSON has no infinity.
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_or_else(|_| Value::from(number.as_str()), Value::from)
        }
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(values) => values.iter().map(|value| json(value.get_ref())).collect(),
        DeValue::Table(table) => object(table),
    }
}

#[cfg(test)]
mod tests {
    use crate::load::config_from_str;

    fn wrong(keys: &str) -> (String, Option<String>) {
        let text = format!("[services.a]\nimage = 'a'\n{keys}")
            .replace("image = 'a'\nmanager = 'systemd'", "manager = 'systemd'");
        let problem = config_from_str(&text, "services.toml").unwrap_err();
        (problem.message, problem.help)
    }

    #[test]
    fn a_key_that_no_module_of_ours_reads_is_told_with_the_one_that_may_be_meant() {
        let (message, help) = wrong("manager = 'systemd'\nwith = { scope = 'user', units = 'x' }");
        assert_eq!(message, "unknown key `units` in [services.a.with]");
        assert_eq!(help.as_deref(), Some("did you mean `unit`?"));
        let (message, help) = wrong("manager = 'systemd'\nwith = { scope = 'mars' }");
        assert_eq!(message, "`scope` should be one of \"system\", \"user\"");
        assert_eq!(help, None);
        assert_eq!(
            wrong("manager = 'podman'\nwith = { option = [] }").1.as_deref(),
            Some("did you mean `options`?")
        );
        assert!(
            wrong("manager = 'docker'\nwith = { options = 3 }")
                .0
                .contains("`options` should be a string or a list")
        );
        assert!(
            config_from_str("[services.a]\nmanager = 'own.nu'\nwith = { any = 1 }", "services.toml").is_ok()
        );
    }

    #[test]
    fn the_modules_say_the_same() {
        let systemd = include_str!("../../../../nu/managers/systemd.nu");
        assert!(systemd.contains("export const WITH = [unit scope]"));
        for engine in [
            include_str!("../../../../nu/managers/podman.nu"),
            include_str!("../../../../nu/managers/docker.nu"),
        ] {
            assert!(engine.contains("export const WITH = [options]"));
        }
    }
}
