//! `service list`.

use super::completion::completes;
use super::query::Query;
use super::signature::selecting;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, Type, Value};
use service_api::{Code, Problem, routes, view};
use service_nushell::table::table;

pub(super) struct ListCommand;

impl PluginCommand for ListCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service list"
    }

    fn signature(&self) -> Signature {
        selecting(self.name(), &Type::table())
    }

    fn description(&self) -> &'static str {
        "List the definitions of the project's services."
    }

    fn extra_description(&self) -> &'static str {
        "The command starts no daemon. `service status` shows the states."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["definitions", "show", "ls"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service list | select name dependencies",
                description: "Show the dependencies",
                result: None,
            },
            Example {
                example: "service list web-app | get 0.start_command",
                description: "Show the start command of a service",
                result: None,
            },
            Example {
                example: "[] | service list",
                description: "An empty pipe lists nothing",
                result: Some(Value::test_list(vec![])),
            },
        ]
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let Some(reading) = Query::open(plugin, engine, call, input)? else {
            return Ok(table::<view::Service>(Vec::new(), call.head));
        };
        let Query { selection, session } = reading;
        let all: Vec<view::Service> =
            session.read(|client| client.get(routes::LIST, &[]), vec!["list".into()])?;
        let rows = match &selection {
            Selection::Unspecified => all,
            Selection::Named(names) | Selection::Piped(names) => {
                pick(&all, names).map_err(|problem| session.error(&problem))?
            }
        };
        Ok(table(rows, call.head))
    }

    completes!(All);
}

/// The named services, in the order of the names.
fn pick(all: &[view::Service], names: &[Spanned<String>]) -> Result<Vec<view::Service>, Problem> {
    let find = |name: &Spanned<String>| {
        let found = all.iter().find(|service| service.name == name.item);
        found.cloned().ok_or_else(|| unknown(&name.item, all))
    };
    names.iter().map(find).collect()
}

/// The maximum length of names that are compared.
const MAX_COMPARED_CHARS: usize = 64;

fn unknown(name: &str, all: &[view::Service]) -> Problem {
    let near = all
        .iter()
        .filter(|_| name.len() <= MAX_COMPARED_CHARS)
        .map(|service| (strsim::jaro_winkler(name, &service.name), &service.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let help = match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => "`service list` shows all".into(),
    };
    Problem::new(Code::NotFound, format!("there is no service `{name}`")).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nu_protocol::Span;

    fn service(name: &str) -> view::Service {
        view::Service {
            name: name.into(),
            description: String::new(),
            dependencies: Vec::new(),
            manager: "process".into(),
            start_command: "true".into(),
            stop_command: None,
            health_check_endpoint: None,
            origin: "file".into(),
            auto: false,
        }
    }

    fn named(name: &str) -> Vec<Spanned<String>> {
        vec![Spanned { item: name.into(), span: Span::test_data() }]
    }

    #[test]
    fn an_unknown_name_is_met_with_the_nearest_one() {
        let all = [service("web-app"), service("database")];
        assert_eq!(pick(&all, &named("database")).unwrap(), [service("database")]);
        let problem = pick(&all, &named("databse")).unwrap_err();
        assert_eq!(problem.help.as_deref(), Some("did you mean `database`?"));
    }
}
