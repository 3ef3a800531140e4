//! Finds services by name, and reports unknown names.

use service_api::redact::brief;
use service_api::{Code, Problem};
use service_core::explain::help_for_unknown;
use service_core::{Id, Name, Plan};

/// The services of these names.
///
/// # Errors
/// [`Code::NotFound`] with the most similar names.
pub fn resolve(plan: &Plan, names: &[String]) -> Result<Vec<Id>, Problem> {
    names.iter().map(|name| plan.id(name).ok_or_else(|| not_found(plan, name))).collect()
}

/// The help for a file without services.
const BEGIN: &str = "remove the `# ` before one, or write a `[services.NAME]` with a `start_command`";

/// The error of a start without any defined service.
pub fn nothing_defined() -> Problem {
    Problem::new(Code::NotFound, "cannot start services: services.toml defines no service").help(BEGIN)
}

/// The error for an unknown name, with the most similar name.
pub fn not_found(plan: &Plan, name: &str) -> Problem {
    let problem = Problem::new(Code::NotFound, format!("there is no service `{}`", brief(name)));
    match plan.suggestion(name) {
        Some(suggestion) => problem.help(format!("did you mean `{suggestion}`?")),
        None if plan.is_empty() => problem.help(format!("services.toml defines no service: {BEGIN}")),
        None => {
            let names: Vec<&str> = plan.ids().take(10).map(|id| &*plan.service(id).name).collect();
            problem.help(format!("services: {}", names.join(", ")))
        }
    }
}

/// The error of a request for a service in an unknown state.
pub fn state_unknown(verb: &str, name: &Name, why: &str) -> Problem {
    let message = format!("cannot {verb} `{name}`: {why}");
    Problem::new(Code::StateUnknown, message).help(help_for_unknown(name))
}
