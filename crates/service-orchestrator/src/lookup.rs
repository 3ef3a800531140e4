//! Services by name, and errors about unknown names.

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

/// How a first service is defined.
const BEGIN: &str = "remove the `# ` before one, or write a `[services.NAME]` with a `start_command`";

/// There is nothing to start: not even a service that is done.
pub fn nothing_defined() -> Problem {
    Problem::new(Code::NotFound, "cannot start services: services.toml defines no service").help(BEGIN)
}

/// There is no such service, with the most similar name.
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

/// The refusal of a request for a service in an unknown state.
pub fn state_unknown(verb: &str, name: &Name, why: &str) -> Problem {
    let message = format!("cannot {verb} `{name}`: {why}");
    Problem::new(Code::StateUnknown, message).help(help_for_unknown(name))
}
