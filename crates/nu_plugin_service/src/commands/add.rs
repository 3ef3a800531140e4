//! `service add`, and the request that `service run` shares with it.

use super::signature::signature;
use crate::plugin::ServicePlugin;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Span, Type, Value};
use service_api::Cell;
use service_api::{Code, Outcome, routes};
use service_nushell::error::{invalid_call, labeled_at};
use service_nushell::table::table;
use service_nushell::value_conversion;

pub(super) struct AddCommand;

impl PluginCommand for AddCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service add"
    }

    fn signature(&self) -> Signature {
        signature(self.name())
            .input_output_types(vec![(Type::table(), Type::table()), (Type::record(), Type::table())])
    }

    fn description(&self) -> &'static str {
        "Define services from records, beside those of services.toml."
    }

    fn extra_description(&self) -> &'static str {
        "The columns are `name` and the keys of services.toml, with the same meaning; durations and sizes may \
         be values of Nushell. All services are added or none. Added services stay until `service remove`, \
         across restarts of the daemon and of the machine. They may depend on services of the file, and \
         `service apply` ignores them. A name that the file defines is refused; if the file defines the name \
         later, the definition of the file replaces the added one. A definition of the same name from an \
         earlier `service add` is replaced; a running service keeps its old definition until its next start. \
         Without a services.toml the command creates an empty one in \
         $env.XDG_CONFIG_HOME/service-orchestrator."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["define", "register", "create", "new", "dynamic"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "[{name: tunnel start_command: 'ssh -N host'} {name: sync start_command: 'sync-it' dependencies: [tunnel]}] | service add | service start",
                description: "Define two services, one of which depends on the other, and start them",
                result: None,
            },
            Example {
                example: "open workers.csv | insert restart always | service add",
                description: "Define a service for each row of a file",
                result: None,
            },
            Example {
                example: "[] | service add",
                description: "An empty pipe adds nothing",
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
        let rows = match input.into_value(call.head)? {
            Value::List { vals, .. } => vals.into_owned(),
            row => vec![row],
        };
        let services: Vec<_> = rows.iter().map(definition).collect::<Result<_, _>>()?;
        if services.is_empty() {
            return Ok(table::<Outcome>(Vec::new(), call.head));
        }
        let session = Session::open_anywhere(plugin, engine, call)?;
        let body = service_api::AddRequest { services, transient: false };
        let added = send(&session, body, |cell| value_conversion::find_span(&rows, cell))?;
        Ok(table(added, call.head))
    }
}

fn definition(row: &Value) -> Result<serde_json::Map<String, serde_json::Value>, LabeledError> {
    match row {
        Value::Record { val, .. } => value_conversion::record_to_json(val),
        Value::Error { error, .. } => Err(LabeledError::from((**error).clone())),
        other => Err(invalid_call(
            "bad_row",
            "cannot add this: it is not a record of a service",
            "no record",
            other.span(),
        )
        .with_help("pipe in records with `name`, `start_command` and other keys of services.toml")),
    }
}

/// Sends definitions. `place` returns the span for an error in a definition.
pub(super) fn send(
    session: &Session,
    body: service_api::AddRequest,
    place: impl Fn(&Cell) -> Option<Span>,
) -> Result<Vec<Outcome>, LabeledError> {
    let sent = session.request(move |client| {
        Ok(client.stream(routes::ADD, &body).and_then(Iterator::collect::<Result<Vec<Outcome>, _>>))
    })?;
    sent.map_err(|problem| match problem.cell.as_ref().and_then(&place) {
        None => session.error(&problem),
        Some(span) => {
            let mut error = labeled_at(&problem, span);
            if let Some(label) = error.labels.first_mut()
                && problem.code == Code::BadDefinition
            {
                "invalid definition".clone_into(&mut label.text);
            }
            error
        }
    })
}
