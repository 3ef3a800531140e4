//! [`run`]: what `service start`, `stop` and `restart` have in common. Rows arrive as services finish.
//!
//! Rows are data, also those of services that failed, which come last. Only when every service that was named failed (or, with
//! `--strict` or `--all`, any service at all) does the stream end in an error.

use super::action::Verb;
use super::signature::selecting;
use super::verdict::Verdict;
use crate::cancel::{Heard, Mouth, Worker};
use crate::client::Client;
use crate::error::refusal;
use crate::plugin::ServicePlugin;
use crate::progress::Progress;
use crate::selector::Selection;
use crate::session::Session;
use crate::table::{Row, metadata, table};
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{
    IntoInterruptiblePipelineData, LabeledError, PipelineData, ShellError, Signature, Spanned, SyntaxShape,
    Type, Value,
};
use serde::Serialize;
use service_api::{Outcome, Problem, Wish, printable};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The daemon keeps the time; this is how much later it may tell.
const GRACE: Duration = Duration::from_secs(10);

/// So many services are named in the line that tells how to take a wish back.
const MOST_NAMED: usize = 5;

/// The signature, without the flag that leaves the relatives alone.
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

/// Wishes it and gives back the rows.
pub(super) fn run(
    verb: Verb,
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
    let wish = Wish {
        names: selection.names().iter().map(|name| name.item.clone()).collect(),
        all: selection == Selection::Unsaid,
        oneshots: matches!(verb, Verb::Restart) && call.has_flag("oneshots")?,
        relatives: call.has_flag(verb.alone())?.then_some(false),
        wait: !call.has_flag("no-wait")?,
        timeout_ms: timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        if_hash: if_hash.filter(|_| matches!(verb, Verb::Start | Verb::Restart)),
    };
    let due = timeout.and_then(|limit| Instant::now().checked_add(limit + GRACE));
    // Whoever means every service wants all of them.
    let strict = wish.all || call.has_flag("strict")?;
    follow(verb, wish, session, due, strict)
}

/// Sends what is wished and gives back the rows as they come; after `due` nothing more is expected.
pub(super) fn follow(
    verb: Verb,
    body: impl Serialize + Send + 'static,
    session: Session,
    due: Option<Instant>,
    strict: bool,
) -> Result<PipelineData, LabeledError> {
    // Connecting comes first and alone: a ctrl-c before the wish is sent means that it is not sent.
    let client = session.ask(|client| Ok(client.clone()))?.acting_as(caller(&session.engine));
    let mut progress = Progress::new(verb.doing(), &session.engine, client.clone(), String::new());
    progress.undone_by(undo(verb, &session.names));
    let (worker, progress) = wish_for(verb, body, client, &session, progress)?;
    let (head, signals) = (session.head, session.engine.signals().clone());
    let rows = Rows {
        worker,
        session,
        progress,
        due,
        verdict: Verdict::new(verb, strict),
        told: false,
        failed: VecDeque::new(),
        has_order: matches!(verb, Verb::Apply),
        over: false,
        error: None,
    };
    Ok(rows.into_pipeline_data_with_metadata(head, signals, metadata::<Outcome>(head)))
}

/// The command that takes a wish back, where one does.
fn undo(verb: Verb, names: &[Spanned<String>]) -> Option<String> {
    let opposite = match verb {
        Verb::Start | Verb::Restart => "stop",
        Verb::Stop => "start",
        Verb::Apply | Verb::Remove => return None,
    };
    let services: Vec<&str> = names.iter().map(|name| name.item.as_str()).collect();
    let whom = if services.is_empty() { "--all".to_owned() } else { services.join(" ") };
    // More than a few do not fit a line, and all would be too many.
    (services.len() <= MOST_NAMED).then(|| format!("service {opposite} {whom}"))
}

/// What acts in the shell's name, if something does: `service hook` says so of itself.
fn caller(engine: &EngineInterface) -> Option<String> {
    let caller = engine.get_env_var("SERVICE_CALLER").ok()??;
    caller.as_str().ok().filter(|caller| *caller == "hook").map(str::to_owned)
}

pub(super) fn timeout(call: &EvaluatedCall) -> Result<Option<Duration>, LabeledError> {
    let Some(limit) = call.get_flag::<Spanned<i64>>("timeout")? else {
        return Ok(None);
    };
    let nanos = u64::try_from(limit.item).map_err(|_| {
        refusal("bad_request", "cannot wait for a negative time", "must not be negative", limit.span)
    })?;
    Ok(Some(Duration::from_nanos(nanos)))
}

/// What the thread that talks to the daemon reports.
enum Report {
    Accepted,
    Finished(Outcome),
    Broken(Problem),
}

/// Returns once the daemon has accepted the wish, so that a refusal is an error of the command and not of a row.
fn wish_for(
    verb: Verb,
    wish: impl Serialize + Send + 'static,
    client: Client,
    session: &Session,
    mut progress: Progress,
) -> Result<(Worker<Report>, Progress), LabeledError> {
    let worker = Worker::spawn(&session.engine, move |mouth| {
        if let Err(problem) = report(verb, &wish, &client, mouth) {
            mouth.say(Report::Broken(problem));
        }
    })?;
    match worker.hear_with(&mut progress, None) {
        Heard::Said(Report::Broken(problem)) => Err(session.error(&problem)),
        Heard::Said(Report::Accepted | Report::Finished(_)) => Ok((worker, progress)),
        heard => {
            if matches!(heard, Heard::Interrupted) {
                progress.interrupted();
            }
            Err(session.unheard(&heard))
        }
    }
}

fn report(verb: Verb, wish: &impl Serialize, client: &Client, mouth: &Mouth<Report>) -> Result<(), Problem> {
    let outcomes = client.stream(verb.route(), wish)?;
    mouth.say(Report::Accepted);
    for outcome in outcomes {
        if !mouth.say(Report::Finished(outcome?)) {
            break; // the consumer has seen enough; the daemon goes on
        }
    }
    Ok(())
}

/// The rows as they come, those of services that failed behind the others, and the verdict after the last one.
struct Rows {
    worker: Worker<Report>,
    session: Session,
    progress: Progress,
    /// When the daemon is given up.
    due: Option<Instant>,
    verdict: Verdict,
    told: bool,
    /// Those that failed, which are told last; an apply tells all in the order in which it went.
    failed: VecDeque<Outcome>,
    has_order: bool,
    /// Nothing more is heard.
    over: bool,
    /// What follows the last row then.
    error: Option<LabeledError>,
}

impl Rows {
    /// Hears until there is a row that may be told, or the end.
    fn hear(&mut self) -> Option<Outcome> {
        loop {
            let error = match self.worker.hear_with(&mut self.progress, self.due) {
                Heard::Said(Report::Finished(outcome)) => {
                    self.verdict.note(&outcome);
                    if outcome.ok || self.has_order {
                        return Some(outcome);
                    }
                    self.failed.push_back(outcome);
                    continue;
                }
                Heard::Said(Report::Accepted) => continue,
                Heard::Said(Report::Broken(problem)) => Some(self.session.error(&problem)),
                Heard::Over => {
                    if let Some(summary) = self.verdict.in_short().filter(|_| !self.has_order) {
                        self.progress.clear();
                        eprintln!("{}", printable(&summary));
                    }
                    self.verdict.error(&self.session.names, self.session.head)
                }
                // An error at the end of the stream could not say more: Nushell would replace it by its own and drop the
                // rows that it has not yet shown.
                Heard::Interrupted if self.told || !self.failed.is_empty() => {
                    self.progress.interrupted();
                    None
                }
                // Without it Nushell would show an empty table.
                heard @ Heard::Interrupted => {
                    self.progress.interrupted();
                    Some(self.session.unheard(&heard))
                }
                heard @ Heard::Late => {
                    self.progress.clear();
                    Some(self.session.unheard(&heard))
                }
            };
            (self.over, self.error) = (true, error);
            return None;
        }
    }
}

impl Iterator for Rows {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let heard = if self.over { None } else { self.hear() };
        if let Some(outcome) = heard.or_else(|| self.failed.pop_front()) {
            self.told = true;
            return Some(outcome.row(self.session.head));
        }
        let error = self.error.take();
        error.map(|error| Value::error(ShellError::from(error), self.session.head))
    }
}
