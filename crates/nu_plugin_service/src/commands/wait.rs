//! `service wait`: waits until services reach a state, or cannot reach it. The command changes no service.

use super::completion::completes;
use super::run_action;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::engine::Closure;
use nu_protocol::{
    Completion, Example, Flag, LabeledError, PipelineData, Record, Signature, Spanned, SyntaxShape, Type,
    Value,
};
use service_api::{Code, Outcome, Problem, routes, view};
use service_client::client::Client;
use service_client::ndjson_stream::NdjsonStream;
use service_nushell::error::invalid_call;
use service_nushell::interruptible::{Worker, WorkerEvent};
use service_nushell::progress::StatusLine;
use service_nushell::table::{Row, table};
use std::time::{Duration, Instant};

const UNTIL: &[&str] = &["ready", "healthy", "running", "stopped", "completed"];
/// The interval at which a closure runs again without a change of state, because it may depend on memory or time.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
pub(super) struct WaitCommand;

impl PluginCommand for WaitCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service wait"
    }

    fn signature(&self) -> Signature {
        let name_or_closure = SyntaxShape::OneOf(vec![SyntaxShape::Closure(None), SyntaxShape::String]);
        super::signature::signature(self.name())
            .rest(
                "names",
                name_or_closure,
                "The services, or a closure that returns true when the wait is over; names may be piped in",
            )
            .input_output_types(super::signature::inputs().map(|input| (input, Type::table())).collect())
            .param(
                Flag::new("for")
                    .arg(SyntaxShape::String)
                    .desc(
                        "The state to wait for: ready (the default), healthy, running, stopped or \
                           completed",
                    )
                    .completion(Completion::new_list(UNTIL)),
            )
            .named("timeout", SyntaxShape::Duration, "How long to wait (default: no limit)", Some('t'))
            .switch("all", "Every service of the project", Some('a'))
    }

    fn description(&self) -> &'static str {
        "Wait until services are ready, healthy, running, stopped or completed; starts no service."
    }

    fn extra_description(&self) -> &'static str {
        "The result is the rows of `service status`. The command fails at once with service::never if the \
         state can no longer be reached: the service or a dependency has failed, or its goal is down. It \
         fails with service::timeout after --timeout. The closure gets a record with a row of `service status \
         --long` for each service, or for each named service."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["until", "block", "ready", "healthy", "poll"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service start web-app --no-wait; service wait web-app --timeout 30sec",
                description: "Start a service, continue, and wait until it is ready",
                result: None,
            },
            Example {
                example: "service wait migration --for completed",
                description: "Wait for the completion of a one-shot",
                result: None,
            },
            Example {
                example: "service wait { $in.database.health == healthy and $in.web-app.restarts < 1 }",
                description: "Wait until a closure returns true",
                result: None,
            },
            Example {
                example: "[] | service wait",
                description: "An empty pipe waits for nothing",
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
        let (names, closure) = arguments(call)?;
        let selection = Selection::with_names(plugin, engine, call, names, input)?;
        let until = until(call, closure.is_some())?;
        let timeout = run_action::timeout(call)?;
        let selection = match (&closure, selection) {
            (Some(_), selection) => selection,
            (None, selection) => {
                let all = call.has_flag("all")?.then(|| call.get_flag_span("all").unwrap_or(call.head));
                selection.or_all(all, call.head)?
            }
        };
        if selection.is_empty() {
            return Ok(table::<view::Status>(Vec::new(), call.head));
        }
        let session = Session::open(plugin, engine, call, &selection)?;
        let client = session.request(|client| Ok(client.clone()))?;
        let waiting = StateWaiter { session, client, names: selection.joined(), timeout };
        let rows = match closure {
            Some(closure) => waiting.closure(&closure)?,
            None => waiting.states(&until)?,
        };
        Ok(table(rows, call.head))
    }

    completes!(All);
}

/// The names, and the closure if there is one.
type WaitArguments = (Vec<Spanned<String>>, Option<Spanned<Closure>>);

fn arguments(call: &EvaluatedCall) -> Result<WaitArguments, LabeledError> {
    let (closures, names): (Vec<_>, Vec<_>) =
        call.positional.iter().cloned().partition(|value| matches!(value, Value::Closure { .. }));
    let mut closures = closures.into_iter();
    let closure = closures.next().map(|closure| -> Result<_, LabeledError> {
        let span = closure.span();
        Ok(Spanned { item: closure.into_closure()?, span })
    });
    if let Some(second) = closures.next() {
        let error =
            invalid_call("bad_request", "cannot wait for two closures", "only one is allowed", second.span());
        return Err(error.with_help("combine the conditions with `and`"));
    }
    let names = names.into_iter().map(|name| {
        let span = name.span();
        Ok(Spanned { item: name.into_string()?, span })
    });
    Ok((names.collect::<Result<_, LabeledError>>()?, closure.transpose()?))
}

fn until(call: &EvaluatedCall, closure: bool) -> Result<String, LabeledError> {
    let Some(word) = call.get_flag::<Spanned<String>>("for")? else { return Ok(UNTIL[0].to_owned()) };
    if closure {
        return Err(invalid_call(
            "ambiguous_input",
            "cannot take both a closure and `--for`",
            "conflicts with the closure",
            word.span,
        )
        .with_help("use only one of the two"));
    }
    match UNTIL.contains(&word.item.as_str()) {
        true => Ok(word.item),
        false => {
            let message = format!("cannot wait for `{}`", word.item);
            Err(invalid_call("bad_request", &message, "expected a state to wait for", word.span)
                .with_help(format!("one of: {}", UNTIL.join(", "))))
        }
    }
}

/// The parameters of one wait.
struct StateWaiter {
    session: Session,
    client: Client,
    /// The names, joined by commas; empty for all.
    names: String,
    timeout: Option<Duration>,
}

impl StateWaiter {
    /// Waits for states, which the daemon checks.
    fn states(&self, until: &str) -> Result<Vec<view::Status>, LabeledError> {
        let timeout = self.timeout.map(|limit| limit.as_millis().to_string()).unwrap_or_default();
        let query = [("names", self.names.as_str()), ("for", until), ("timeout_ms", &timeout)];
        let opened = NdjsonStream::<Outcome>::open(&self.client, routes::WAIT, &query);
        let (follow, _leash) = opened.map_err(|problem| self.session.error(&problem))?;
        let worker = Worker::spawn(&self.session.engine, move |sender| {
            for outcome in follow {
                if !sender.send(outcome) {
                    break;
                }
            }
        })?;
        let what = format!("waiting until {until}");
        let mut progress =
            StatusLine::new(what, &self.session.engine, self.client.clone(), self.names.clone());
        let due =
            self.timeout.and_then(|limit| Instant::now().checked_add(limit + crate::session::RESPONSE_GRACE));
        let mut late = Vec::new();
        loop {
            match worker.receive_with_progress(&mut progress, due) {
                WorkerEvent::Item(Ok(outcome)) => match outcome.error {
                    // Services that time out are reported together; any other problem ends the wait.
                    Some(problem) if problem.code == Code::Timeout => late.push(problem),
                    Some(problem) => return Err(self.session.error(&problem)),
                    None => {}
                },
                WorkerEvent::Item(Err(problem)) => return Err(self.session.error(&problem)),
                WorkerEvent::Finished => break,
                event => return Err(self.session.explain_no_answer(&event)),
            }
        }
        let mut late = late.into_iter();
        match late.next() {
            Some(first) => Err(self.session.error(&Problem { others: late.collect(), ..first })),
            None => self.status("false"),
        }
    }

    /// Runs a closure at each change of a state, and at a fixed interval.
    fn closure(&self, closure: &Spanned<Closure>) -> Result<Vec<view::Status>, LabeledError> {
        let query = [("names", self.names.as_str()), ("follow", "true")];
        let opened = NdjsonStream::<Vec<view::Status>>::open(&self.client, routes::STATUS, &query);
        let (follow, _leash) = opened.map_err(|problem| self.session.error(&problem))?;
        let worker = Worker::spawn(&self.session.engine, move |sender| {
            for table in follow {
                if !sender.send(table.map(drop)) {
                    break;
                }
            }
        })?;
        let what = "waiting for the closure to return true";
        let mut progress =
            StatusLine::new(what, &self.session.engine, self.client.clone(), self.names.clone());
        let due = self.timeout.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let again = Instant::now() + POLL_INTERVAL;
            match worker.receive_with_progress(&mut progress, due.into_iter().chain([again]).min()) {
                WorkerEvent::Item(Ok(())) | WorkerEvent::TimedOut => {}
                WorkerEvent::Item(Err(problem)) => return Err(self.session.error(&problem)),
                WorkerEvent::Finished => {
                    let problem = Problem::new(
                        Code::DaemonUnreachable,
                        "the daemon ended before the closure returned true",
                    )
                    .help("services keep running, and the next command starts a daemon: wait again");
                    return Err(self.session.error(&problem));
                }
                event @ WorkerEvent::Interrupted => return Err(self.session.explain_no_answer(&event)),
            }
            let states = self.status("true")?;
            if self.is_true(closure, &states)? {
                let short = |state| view::Status { details: None, ..state };
                return Ok(states.into_iter().map(short).collect());
            }
            if due.is_some_and(|due| Instant::now() >= due) {
                let limit = self.timeout.unwrap_or_default();
                let message = format!("the closure has not returned true within {limit:?}");
                return Err(service_nushell::error::labeled_at(
                    &Problem::new(Code::Timeout, message),
                    closure.span,
                ));
            }
        }
    }

    fn is_true(&self, closure: &Spanned<Closure>, states: &[view::Status]) -> Result<bool, LabeledError> {
        let span = closure.span;
        let all: Record =
            states.iter().map(|state| (state.name.clone(), state.clone().into_row(span))).collect();
        match self.session.engine.eval_closure(closure, Vec::new(), Some(Value::record(all, span)))? {
            Value::Bool { val, .. } => Ok(val),
            // Null is false: the result of `$in.web.uptime > 1min` for a service that does not run.
            Value::Nothing { .. } => Ok(false),
            other => {
                let label = format!("returns {}", other.get_type());
                Err(invalid_call(
                    "bad_request",
                    "cannot use the result of this closure: expected true or false",
                    &label,
                    span,
                )
                .with_help("return true or false, as in `{ $in.web.health == healthy }`"))
            }
        }
    }

    fn status(&self, long: &'static str) -> Result<Vec<view::Status>, LabeledError> {
        let names = self.names.clone();
        let client = self.client.clone();
        self.session.with_timeout(move || client.get(routes::STATUS, &[("names", &names), ("long", long)]))
    }
}
