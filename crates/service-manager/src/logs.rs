//! Logs of services with managers: the existing lines, and later lines for followers. A manager does not report new
//! lines, so it is polled: frequently after new lines, less frequently without, and not while its reader still has
//! unread lines.

use super::call::Call;
use super::client::Managers;
use super::error::{ManagerError, RaisedError, strip_prefix};
use super::log_cursor::{LogCursor, LogPosition, NewLines as New};
use super::log_file::LogFile;
use super::request::RequestedLines;
use jiff::Timestamp;
use service_api::view::LogLine;
use service_api::{Code, Problem};
use service_core::Name;
use service_core::config::{Service, Settings};
use service_host::clock;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

/// The polling interval after new lines.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The maximum polling interval without new lines.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// The maximum delay after errors.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);
/// The maximum number of new lines in one reply. If lines are long, fewer are requested.
const MAX_NEW_LINES: usize = 10_000;
/// The minimum number of lines in a follower's first request, because the next reply is matched with these lines.
const MIN_OVERLAP_LINES: usize = 100;
/// The number of lines that requests all lines. Every program can represent it.
const ALL_LINES: usize = i32::MAX as usize;

/// The requested lines.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The maximum number of lines, counted from the end.
    pub tail: usize,
    /// The time of the first line.
    pub since: Option<Timestamp>,
}

/// The lines of a service's log; none if its manager has no `logs`.
pub async fn logs(
    managers: &Managers,
    settings: &Settings,
    service: &Arc<Service>,
    ask: Ask,
) -> Result<Option<(LogFile, LogCursor)>, Problem> {
    let record = record(managers, settings, service, ask, (ask.tail, 0)).await;
    let record = record.map_err(|trouble| problem(service, trouble))?;
    Ok(record.map(|(record, _)| (record, LogCursor::default())))
}

/// The first lines of a followed log, and the cursor after them.
pub async fn begin(
    managers: &Managers,
    settings: &Settings,
    service: &Arc<Service>,
    ask: Ask,
) -> Result<Option<(LogFile, LogCursor)>, Problem> {
    let began = clock::today();
    let asked = async |tail: usize| {
        let marked = tail.min(MAX_NEW_LINES);
        let told = record(managers, settings, service, Ask { tail, ..ask }, (ask.tail, marked)).await?;
        Ok(told.map(|(record, marks)| {
            let all = marks.len() < marked;
            (record, LogCursor::new(began, marks, all))
        }))
    };
    let told = match asked(ask.tail.max(MIN_OVERLAP_LINES)).await {
        Err(ManagerError::TooMuch) if ask.tail < MIN_OVERLAP_LINES => asked(ask.tail.max(1)).await,
        told => told,
    };
    told.map_err(|trouble| problem(service, trouble))
}

/// The error for a client that reads a log.
fn problem(service: &Service, error: ManagerError) -> Problem {
    let cannot = |why: &str| format!("cannot read the log of `{}`: {why}", service.name);
    match error {
        ManagerError::TooMuch => Problem::new(Code::TooMuch, cannot(&error.to_string()))
            .help("request fewer lines: the last ones (`--tail 100`), or new ones (`--since 5min`)"),
        ManagerError::Raised(RaisedError { message: Some(message), help, .. }) => {
            let doing = ["read the log of", "show the log of", "logs"];
            let strip = |message, doing: &&str| strip_prefix(doing, &service.name, message);
            let why = doing.iter().fold(message.as_str(), strip);
            Problem { help, ..Problem::new(Code::ManagerFailed, cannot(why)) }
        }
        error => Problem::new(Code::ManagerFailed, cannot(&error.to_string())),
    }
}

/// Calls `logs`. Returns the last `lines` lines and the identities of the last `marks` lines.
async fn record(
    managers: &Managers,
    settings: &Settings,
    service: &Arc<Service>,
    ask: Ask,
    (most, marked): (usize, usize),
) -> Result<Option<(LogFile, Vec<LogPosition>)>, ManagerError> {
    let module = managers.load_module(settings, service).await?;
    if !module.has_command("logs") {
        return Ok(None);
    }
    let lines = RequestedLines {
        tail: Some(ask.tail.min(ALL_LINES)),
        since: ask.since.map(|since| since.to_string()),
    };
    let input = managers.encode_request(&module.path, service, lines).await?;
    let call = Call { module: &module.path, command: "logs", input: input.as_bytes() };
    call.record(&managers.caller, settings)
        .await?
        .record(&managers.log_reads, &service.name, most, marked)
        .await
        .map(Some)
}

/// The later lines for one reader. Dropping this ends the polling.
pub struct News {
    lines: Receiver<(Name, Vec<LogLine>)>,
    _askers: JoinSet<()>,
}

/// The next step of a follower for one service.
pub enum FollowStep {
    /// Query the manager.
    Ask(Arc<Service>, Settings),
    /// Do not query: the definition has not been accepted.
    Wait,
    /// End the polling of this service.
    End,
}

/// Decides the next step of a follower, and may read files for this, on another thread.
pub type NextStep = Arc<dyn Fn(Name) -> Pin<Box<dyn Future<Output = FollowStep> + Send>> + Send + Sync>;

impl News {
    /// Polls these services. `next_step` decides before each call of a manager.
    pub fn follow(managers: &Managers, services: Vec<(Name, LogCursor)>, next_step: &NextStep) -> Self {
        let (sender, lines) = channel(1);
        let mut askers = JoinSet::new();
        for (name, cursor) in services {
            let asker = LogPoller {
                managers: managers.clone(),
                name,
                cursor,
                lines: sender.clone(),
                tail: MAX_NEW_LINES,
                failures: 0,
            };
            askers.spawn(asker.run(Arc::clone(next_step)));
        }
        Self { lines, _askers: askers }
    }

    /// Lines of one service; `None` after the last line.
    pub async fn next(&mut self) -> Option<(Name, Vec<LogLine>)> {
        self.lines.recv().await
    }
}

/// Polls one service.
struct LogPoller {
    managers: Managers,
    name: Name,
    cursor: LogCursor,
    lines: Sender<(Name, Vec<LogLine>)>,
    /// The number of requested lines.
    tail: usize,
    /// The number of successive errors.
    failures: u32,
}

/// The error of a dropped reader.
struct Gone;

impl LogPoller {
    async fn run(mut self, next_step: NextStep) {
        let mut pause = MIN_POLL_INTERVAL;
        loop {
            tokio::time::sleep(pause).await;
            // No further lines are requested before the reader has received the last ones.
            if self.lines.reserve().await.is_err() {
                return;
            }
            let (service, settings) = match next_step(self.name.clone()).await {
                FollowStep::Ask(service, settings) => (service, settings),
                FollowStep::Wait => {
                    pause = MAX_POLL_INTERVAL;
                    continue;
                }
                FollowStep::End => return,
            };
            let ask = Ask { tail: self.tail, since: self.cursor.since() };
            let call = record(&self.managers, &settings, &service, ask, (self.tail, self.tail));
            let told = match Box::pin(self.managers.log_rate.pass(call)).await {
                Ok(Some((record, marks))) => self.deliver(record, marks).await,
                Ok(None) => Ok(0),
                Err(ManagerError::TooMuch) if self.tail > 10 => {
                    self.tail /= 10;
                    Ok(1)
                }
                Err(trouble) => {
                    let said = self.report_failure(trouble).await;
                    pause = (2 * pause).min(MAX_RETRY_DELAY);
                    if said.is_err() {
                        return;
                    }
                    continue;
                }
            };
            pause = match told {
                Ok(0) => (pause + pause / 2).min(MAX_POLL_INTERVAL),
                Ok(_) => MIN_POLL_INTERVAL,
                Err(Gone) => return,
            };
        }
    }

    /// Delivers the new lines of a reply. Returns their number.
    async fn deliver(&mut self, record: LogFile, marks: Vec<LogPosition>) -> Result<usize, Gone> {
        let all = marks.len() < self.tail;
        (self.failures, self.tail) = (0, MAX_NEW_LINES);
        let New { is_new, gap } = self.cursor.select_new(marks, all);
        let new = is_new.iter().filter(|new| **new).count();
        if gap {
            self.send_notice(
                "lines are missing here: more arrived at once than its manager can return".to_owned(),
            )
            .await?;
        }
        let mut rest = Some((record, is_new.into_iter())).filter(|_| new > 0);
        while let Some((record, wanted)) = rest {
            let (lines, more) = record.some(&self.managers.log_reads, wanted).await;
            if !lines.is_empty() {
                self.hand_on(lines).await?;
            }
            rest = more;
        }
        Ok(new)
    }

    /// Reports a failing manager to the reader: once, and only after successive errors.
    async fn report_failure(&mut self, trouble: ManagerError) -> Result<(), Gone> {
        let why = trouble.without_prefix("logs", &self.name).to_string();
        tracing::warn!(service = %self.name, why, "cannot follow its log");
        self.failures = self.failures.saturating_add(1);
        if self.failures != 2 {
            return Ok(());
        }
        self.send_notice(format!(
            "its manager does not return its log: {}",
            why.lines().next().unwrap_or_default()
        ))
        .await
    }

    /// Sends a message of the daemon among the lines.
    async fn send_notice(&self, line: String) -> Result<(), Gone> {
        let (time, service) = (clock::today().to_string(), self.name.to_string());
        let stream = "shim".to_owned();
        self.hand_on(vec![LogLine { time, service, stream, line, partial: false, continues: false }]).await
    }

    async fn hand_on(&self, lines: Vec<LogLine>) -> Result<(), Gone> {
        self.lines.send((self.name.clone(), lines)).await.map_err(|_| Gone)
    }
}
