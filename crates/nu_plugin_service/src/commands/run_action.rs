//! The common part of `service start`, `stop` and `restart`. Rows arrive as services finish.
//!
//! A failed service is a row as well; these rows come last. The stream ends with an error only if every named service
//! failed, or with `--strict` or `--all` if any service failed.

use super::action::ActionKind;
use super::command_result::CommandResult;
use super::signature::selecting;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{
    IntoInterruptiblePipelineData, LabeledError, PipelineData, ShellError, Signature, Spanned, SyntaxShape,
    Type, Value,
};
use serde::Serialize;
use service_api::{ActionRequest, Outcome, Problem, printable};
use service_client::client::Client;
use service_nushell::error::invalid_call;
use service_nushell::interruptible::{EventSender, Worker, WorkerEvent};
use service_nushell::progress::StatusLine;
use service_nushell::table::{Row, metadata, table};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The maximum number of services in the command that undoes an action.
const MAX_NAMED: usize = 5;

/// The signature, without the flag that excludes dependencies or dependents.
pub(super) fn signature(name: &str) -> Signature {
    selecting(name, &Type::table())
        .switch("all", "Every service of the project", Some('a'))
        .switch("no-wait", "Return as soon as the action is under way", None)
        .switch(
            "strict",
            "Raise an error if any service failed, not only if all named services failed; implied by --all",
            None,
        )
        .named(
            "timeout",
            SyntaxShape::Duration,
            "How long to wait; the daemon continues after that",
            Some('t'),
        )
}

/// Sends the request and returns the rows.
pub(super) fn run(
    action: ActionKind,
    plugin: &ServicePlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
    input: PipelineData,
) -> Result<PipelineData, LabeledError> {
    let all = call.has_flag("all")?.then(|| call.get_flag_span("all").unwrap_or(call.head));
    let selection = Selection::read(plugin, engine, call, input)?.or_all(all, call.head)?;
    if selection.is_empty() {
        return Ok(table::<Outcome>(Vec::new(), call.head));
    }
    let timeout = timeout(call)?;
    let session = Session::open(plugin, engine, call, &selection)?;
    let if_hash = call.get_flag("if-hash")?.or_else(|| session.trusted_hash());
    let request = ActionRequest {
        names: selection.names().iter().map(|name| name.item.clone()).collect(),
        all: selection == Selection::Unspecified,
        oneshots: matches!(action, ActionKind::Restart) && call.has_flag("oneshots")?,
        relatives: call.has_flag(action.alone_flag())?.then_some(false),
        wait: !call.has_flag("no-wait")?,
        timeout_ms: timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        if_hash: if_hash.filter(|_| matches!(action, ActionKind::Start | ActionKind::Restart)),
    };
    let due = timeout.and_then(|limit| Instant::now().checked_add(limit + crate::session::RESPONSE_GRACE));
    // With `--all` any failure is an error.
    let strict = request.all || call.has_flag("strict")?;
    send(action, request, session, due, strict)
}

/// Sends the request and returns the rows as they arrive, until `due`.
pub(super) fn send(
    action: ActionKind,
    body: impl Serialize + Send + 'static,
    session: Session,
    due: Option<Instant>,
    strict: bool,
) -> Result<PipelineData, LabeledError> {
    // Connecting is a separate step, so that a ctrl-c during it prevents the request.
    let client = session.request(|client| Ok(client.clone()))?.acting_as(caller(&session.engine));
    let mut progress = StatusLine::new(action.participle(), &session.engine, client.clone(), String::new());
    progress.set_undo(undo_command(action, &session.names));
    let (worker, progress) = send_request(action, body, client, &session, progress)?;
    let (head, signals) = (session.head, session.engine.signals().clone());
    let rows = ActionRows {
        worker,
        session,
        progress,
        due,
        result: CommandResult::new(action, strict),
        any_returned: false,
        failed: VecDeque::new(),
        has_order: matches!(action, ActionKind::Apply),
        over: false,
        error: None,
    };
    Ok(rows.into_pipeline_data_with_metadata(head, signals, metadata::<Outcome>(head)))
}

/// The command that undoes the action; `None` if there is none.
fn undo_command(action: ActionKind, names: &[Spanned<String>]) -> Option<String> {
    let opposite = match action {
        ActionKind::Start | ActionKind::Restart => "stop",
        ActionKind::Stop => "start",
        ActionKind::Apply | ActionKind::Remove => return None,
    };
    let services: Vec<&str> = names.iter().map(|name| name.item.as_str()).collect();
    let whom = if services.is_empty() { "--all".to_owned() } else { services.join(" ") };
    // More names do not fit into the line, and `--all` would affect other services too.
    (services.len() <= MAX_NAMED).then(|| format!("service {opposite} {whom}"))
}

/// The kind of the caller, if the call is automatic: `service hook` sets `$env.SERVICE_CALLER`.
fn caller(engine: &EngineInterface) -> Option<String> {
    let caller = engine.get_env_var("SERVICE_CALLER").ok()??;
    caller.as_str().ok().filter(|caller| *caller == "hook").map(str::to_owned)
}

pub(super) fn timeout(call: &EvaluatedCall) -> Result<Option<Duration>, LabeledError> {
    let Some(limit) = call.get_flag::<Spanned<i64>>("timeout")? else {
        return Ok(None);
    };
    let nanos = u64::try_from(limit.item).map_err(|_| {
        invalid_call("bad_request", "cannot wait for a negative time", "must not be negative", limit.span)
    })?;
    Ok(Some(Duration::from_nanos(nanos)))
}

/// A report of the worker thread.
enum Report {
    Accepted,
    Finished(Outcome),
    Broken(Problem),
}

/// Sends the request, and returns once the daemon has accepted it, so that a refusal is an error of the command and not
/// of a row.
fn send_request(
    action: ActionKind,
    request: impl Serialize + Send + 'static,
    client: Client,
    session: &Session,
    mut progress: StatusLine,
) -> Result<(Worker<Report>, StatusLine), LabeledError> {
    let worker = Worker::spawn(&session.engine, move |sender| {
        if let Err(problem) = report(action, &request, &client, sender) {
            sender.send(Report::Broken(problem));
        }
    })?;
    match worker.receive_with_progress(&mut progress, None) {
        WorkerEvent::Item(Report::Broken(problem)) => Err(session.error(&problem)),
        WorkerEvent::Item(Report::Accepted | Report::Finished(_)) => Ok((worker, progress)),
        event => {
            if matches!(event, WorkerEvent::Interrupted) {
                progress.interrupted();
            }
            Err(session.explain_no_answer(&event))
        }
    }
}

fn report(
    action: ActionKind,
    request: &impl Serialize,
    client: &Client,
    sender: &EventSender<Report>,
) -> Result<(), Problem> {
    let outcomes = client.stream(action.route(), request)?;
    sender.send(Report::Accepted);
    for outcome in outcomes {
        if !sender.send(Report::Finished(outcome?)) {
            break; // the consumer has enough rows; the daemon continues
        }
    }
    Ok(())
}

/// The rows as they arrive, followed by the rows of failed services and by the error, if any.
struct ActionRows {
    worker: Worker<Report>,
    session: Session,
    progress: StatusLine,
    /// The deadline for the next row.
    due: Option<Instant>,
    result: CommandResult,
    any_returned: bool,
    /// The rows of failed services, which come last. Not used by an apply, which returns all rows in their order.
    failed: VecDeque<Outcome>,
    has_order: bool,
    /// Whether the last event was received.
    over: bool,
    /// The error after the last row.
    error: Option<LabeledError>,
}

impl ActionRows {
    /// Receives events until there is a row to return, or the end.
    fn receive(&mut self) -> Option<Outcome> {
        loop {
            let error = match self.worker.receive_with_progress(&mut self.progress, self.due) {
                WorkerEvent::Item(Report::Finished(outcome)) => {
                    self.result.add(&outcome);
                    if outcome.ok || self.has_order {
                        return Some(outcome);
                    }
                    self.failed.push_back(outcome);
                    continue;
                }
                WorkerEvent::Item(Report::Accepted) => continue,
                WorkerEvent::Item(Report::Broken(problem)) => Some(self.session.error(&problem)),
                WorkerEvent::Finished => {
                    if let Some(summary) = self.result.short_summary().filter(|_| !self.has_order) {
                        self.progress.clear();
                        eprintln!("{}", printable(&summary));
                    }
                    self.result.error(&self.session.names, self.session.head)
                }
                // The stream ends without an error, because Nushell would replace the error by its own and drop rows
                // that it has not shown.
                WorkerEvent::Interrupted if self.any_returned || !self.failed.is_empty() => {
                    self.progress.interrupted();
                    None
                }
                // If there were no error, Nushell would show an empty table.
                event @ WorkerEvent::Interrupted => {
                    self.progress.interrupted();
                    Some(self.session.explain_no_answer(&event))
                }
                event @ WorkerEvent::TimedOut => {
                    self.progress.clear();
                    Some(self.session.explain_no_answer(&event))
                }
            };
            (self.over, self.error) = (true, error);
            return None;
        }
    }
}

impl Iterator for ActionRows {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let event = if self.over { None } else { self.receive() };
        if let Some(outcome) = event.or_else(|| self.failed.pop_front()) {
            self.any_returned = true;
            return Some(outcome.into_row(self.session.head));
        }
        let error = self.error.take();
        error.map(|error| Value::error(ShellError::from(error), self.session.head))
    }
}
