//! `service wait`: looks on until services are as asked, or never can be. It wishes nothing.

use super::names::completes;
use super::verb;
use crate::cancel::{Heard, Worker};
use crate::client::Client;
use crate::error::refusal;
use crate::plugin::ServicePlugin;
use crate::progress::Progress;
use crate::selector::Selection;
use crate::session::Session;
use crate::stream::Follow;
use crate::table::{Row, table};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::engine::Closure;
use nu_protocol::{
    Completion, Example, Flag, LabeledError, PipelineData, Record, Signature, Spanned, SyntaxShape, Type,
    Value,
};
use service_api::{Code, Outcome, Problem, routes, view};
use std::time::{Duration, Instant};

const UNTIL: &[&str] = &["ready", "healthy", "running", "stopped", "completed"];
/// How often a closure is asked again although no state has changed: it may speak of memory or time.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The daemon keeps the time; this is how much later it may tell.
const GRACE: Duration = Duration::from_secs(10);

pub(super) struct Wait;

impl PluginCommand for Wait {
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
        "Wait until services are ready, healthy, running, stopped or completed; starts nothing."
    }

    fn extra_description(&self) -> &'static str {
        "The result is the rows of `service status`. The command fails at once with service::never if the \
         state can no longer be reached: the service or a dependency has failed, or its goal is down. It \
         fails with service::timeout after --timeout. The closure gets a record of all services, or of the \
         named ones: name to row of `service status --long`."
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
        let selection = Selection::of(plugin, engine, call, names, input)?;
        let until = until(call, closure.is_some())?;
        let timeout = verb::timeout(call)?;
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
        let client = session.ask(|client| Ok(client.clone()))?;
        let waiting = Waiting { session, client, names: selection.joined(), timeout };
        let rows = match closure {
            Some(closure) => waiting.closure(&closure)?,
            None => waiting.states(&until)?,
        };
        Ok(table(rows, call.head))
    }

    completes!(All);
}

/// The names, and the closure if there is one.
type Arguments = (Vec<Spanned<String>>, Option<Spanned<Closure>>);

fn arguments(call: &EvaluatedCall) -> Result<Arguments, LabeledError> {
    let (closures, names): (Vec<_>, Vec<_>) =
        call.positional.iter().cloned().partition(|value| matches!(value, Value::Closure { .. }));
    let mut closures = closures.into_iter();
    let closure = closures.next().map(|closure| -> Result<_, LabeledError> {
        let span = closure.span();
        Ok(Spanned { item: closure.into_closure()?, span })
    });
    if let Some(second) = closures.next() {
        let error =
            refusal("bad_request", "cannot wait for two closures", "only one is allowed", second.span());
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
        return Err(refusal(
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
            Err(refusal("bad_request", &message, "expected a state to wait for", word.span)
                .with_help(format!("one of: {}", UNTIL.join(", "))))
        }
    }
}

/// One wait.
struct Waiting {
    session: Session,
    client: Client,
    /// Joined; empty for all.
    names: String,
    timeout: Option<Duration>,
}

impl Waiting {
    /// Waits for states, on which the daemon keeps an eye.
    fn states(&self, until: &str) -> Result<Vec<view::Status>, LabeledError> {
        let timeout = self.timeout.map(|limit| limit.as_millis().to_string()).unwrap_or_default();
        let query = [("names", self.names.as_str()), ("for", until), ("timeout_ms", &timeout)];
        let opened = Follow::<Outcome>::open(&self.client, routes::WAIT, &query);
        let (follow, _leash) = opened.map_err(|problem| self.session.error(&problem))?;
        let worker = Worker::spawn(&self.session.engine, move |mouth| {
            for outcome in follow {
                if !mouth.say(outcome) {
                    break;
                }
            }
        })?;
        let what = format!("waiting until {until}");
        let mut progress = Progress::new(what, &self.session.engine, self.client.clone(), self.names.clone());
        let due = self.timeout.and_then(|limit| Instant::now().checked_add(limit + GRACE));
        let mut late = Vec::new();
        loop {
            match worker.hear_with(&mut progress, due) {
                Heard::Said(Ok(outcome)) => match outcome.error {
                    // All that are late are told together; anything else is the end.
                    Some(problem) if problem.code == Code::Timeout => late.push(problem),
                    Some(problem) => return Err(self.session.error(&problem)),
                    None => {}
                },
                Heard::Said(Err(problem)) => return Err(self.session.error(&problem)),
                Heard::Over => break,
                heard => return Err(self.session.unheard(&heard)),
            }
        }
        let mut late = late.into_iter();
        match late.next() {
            Some(first) => Err(self.session.error(&Problem { others: late.collect(), ..first })),
            None => self.status("false"),
        }
    }

    /// Asks a closure whenever a state has changed, and now and then.
    fn closure(&self, closure: &Spanned<Closure>) -> Result<Vec<view::Status>, LabeledError> {
        let query = [("names", self.names.as_str()), ("follow", "true")];
        let opened = Follow::<Vec<view::Status>>::open(&self.client, routes::STATUS, &query);
        let (follow, _leash) = opened.map_err(|problem| self.session.error(&problem))?;
        let worker = Worker::spawn(&self.session.engine, move |mouth| {
            for table in follow {
                if !mouth.say(table.map(drop)) {
                    break;
                }
            }
        })?;
        let what = "waiting for the closure to return true";
        let mut progress = Progress::new(what, &self.session.engine, self.client.clone(), self.names.clone());
        let due = self.timeout.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let again = Instant::now() + LOOK_AGAIN;
            match worker.hear_with(&mut progress, due.into_iter().chain([again]).min()) {
                Heard::Said(Ok(())) | Heard::Late => {}
                Heard::Said(Err(problem)) => return Err(self.session.error(&problem)),
                Heard::Over => {
                    let problem = Problem::new(
                        Code::DaemonUnreachable,
                        "the daemon ended before the closure returned true",
                    )
                    .help("services keep running, and the next command starts a daemon: wait again");
                    return Err(self.session.error(&problem));
                }
                heard @ Heard::Interrupted => return Err(self.session.unheard(&heard)),
            }
            let states = self.status("true")?;
            if self.says_true(closure, &states)? {
                let short = |state| view::Status { details: None, ..state };
                return Ok(states.into_iter().map(short).collect());
            }
            if due.is_some_and(|due| Instant::now() >= due) {
                let limit = self.timeout.unwrap_or_default();
                let message = format!("the closure has not returned true within {limit:?}");
                return Err(crate::error::labeled_at(&Problem::new(Code::Timeout, message), closure.span));
            }
        }
    }

    fn says_true(&self, closure: &Spanned<Closure>, states: &[view::Status]) -> Result<bool, LabeledError> {
        let span = closure.span;
        let all: Record = states.iter().map(|state| (state.name.clone(), state.clone().row(span))).collect();
        match self.session.engine.eval_closure(closure, Vec::new(), Some(Value::record(all, span)))? {
            Value::Bool { val, .. } => Ok(val),
            // `$in.web.uptime > 1min` of one that does not run.
            Value::Nothing { .. } => Ok(false),
            other => {
                let label = format!("says {}", other.get_type());
                Err(refusal(
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
        self.session.patiently(move || client.get(routes::STATUS, &[("names", &names), ("long", long)]))
    }
}
