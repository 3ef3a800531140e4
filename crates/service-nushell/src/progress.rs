//! [`StatusLine`]: a status line on the terminal that shows the progress of a call, and that is cleared afterwards.
//!
//! The line is drawn on standard error, only on a terminal, and only after [`SHOW_DELAY`] without events, because
//! Nushell prints rows as they arrive and needs an empty line for them.

use jiff::Timestamp;
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{PipelineData, Span};
use service_api::{routes, view};
use service_client::client::{Client, service_path};
use service_client::connection::ShutdownHandle;
use service_client::ndjson_stream::NdjsonStream;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthChar;

/// The delay before the line is first drawn.
const SHOW_DELAY: Duration = Duration::from_millis(300);
/// The interval at which the line is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(250);
/// The maximum number of services in the line. Further ones are counted.
const MAX_SHOWN: usize = 3;
/// The number of columns that stay free, because the terminal prints `^C` after the line.
const MARGIN: usize = 3;
/// The time limit for the request of a service's last line.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_millis(500);
/// The width if the terminal does not report one.
const DEFAULT_WIDTH: usize = 80;

/// The line of one call. Dropping it clears the line.
pub struct StatusLine {
    /// The current action, such as `starting`; `None` without a terminal.
    what: Option<String>,
    engine: EngineInterface,
    names: String,
    client: Client,
    began: Instant,
    quiet_since: Instant,
    drawn: bool,
    feed: Option<Feed>,
    /// The command that undoes the action.
    undo: Option<String>,
}

/// The current states, read on a thread.
struct Feed {
    newest: Arc<Mutex<Vec<view::Status>>>,
    _leash: ShutdownHandle,
}

impl StatusLine {
    /// A line that is not drawn yet. `names` are the services to show, joined by commas; if empty, all services in
    /// transition.
    pub fn new(what: impl Into<String>, engine: &EngineInterface, client: Client, names: String) -> Self {
        let what = stderr().is_terminal().then(|| what.into());
        let now = Instant::now();
        Self {
            what,
            engine: engine.clone(),
            names,
            client,
            began: now,
            quiet_since: now,
            drawn: false,
            feed: None,
            undo: None,
        }
    }

    /// Sets the command that undoes the action, to be shown after a ctrl-c.
    pub fn set_undo(&mut self, undo: Option<String>) {
        self.undo = undo;
    }

    /// How long to wait for other events before the next [`tick`](Self::tick); `None` without a terminal.
    pub fn pause(&self) -> Option<Duration> {
        self.what.as_ref().map(|_| {
            if self.drawn { REDRAW_INTERVAL } else { SHOW_DELAY.saturating_sub(self.quiet_since.elapsed()) }
        })
    }

    /// Draws the line if it is due.
    pub fn tick(&mut self) {
        if self.what.is_none() || self.quiet_since.elapsed() < SHOW_DELAY {
            return;
        }
        if !self.drawn && self.feed.is_none() && is_background_job(&self.engine) {
            self.what = None;
        }
        let Some(what) = &self.what else { return };
        if self.feed.is_none() {
            self.feed = Feed::open(&self.client, &self.names);
        }
        let states = self.feed.as_ref().map(Feed::newest).unwrap_or_default();
        let all = self.names.is_empty();
        let line = describe_progress(what, self.began.elapsed(), &states, all, Timestamp::now());
        let width =
            terminal_size::terminal_size_of(stderr()).map_or(DEFAULT_WIDTH, |(width, _)| width.0.into());
        self.drawn = true;
        print(&format!("\r{}\x1b[K", fit_width(&line, width.saturating_sub(MARGIN))));
    }

    /// Clears the line, because other output follows.
    pub fn clear(&mut self) {
        self.quiet_since = Instant::now();
        if std::mem::take(&mut self.drawn) {
            print("\r\x1b[K");
        }
    }

    /// Prints, below the terminal's `^C`, that the action continues after the end of the wait.
    pub fn interrupted(&mut self) {
        let line = if self.drawn { "" } else { "\n" };
        self.clear();
        if self.what.is_some() {
            let undo = self.undo.as_ref().map(|undo| format!("; `{undo}` reverts it")).unwrap_or_default();
            print(&format!("{line}the daemon continues: see `service status`{undo}\n"));
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Feed {
    fn open(client: &Client, names: &str) -> Option<Self> {
        let query = [("names", names), ("long", "true"), ("follow", "true")];
        let (follow, leash) = NdjsonStream::<Vec<view::Status>>::open(client, routes::STATUS, &query).ok()?;
        let newest = Arc::new(Mutex::new(Vec::new()));
        let board = Arc::clone(&newest);
        let client = client.with_timeout(SNAPSHOT_TIMEOUT);
        std::thread::spawn(move || {
            for mut states in follow.map_while(Result::ok) {
                let crashed = states.iter_mut().filter(|state| state.state == "backoff");
                crashed.take(MAX_SHOWN).for_each(|state| add_last_output(state, &client));
                *board.lock().unwrap_or_else(PoisonError::into_inner) = states;
            }
        });
        Some(Self { newest, _leash: leash })
    }

    fn newest(&self) -> Vec<view::Status> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Adds the last output of a service to its reason, if it waits for its next start.
fn add_last_output(status: &mut view::Status, client: &Client) {
    let why: Result<view::Why, _> = client.get(&service_path(routes::SERVICE_WHY, &status.name), &[]);
    let lines = why.map(|why| why.log).unwrap_or_default();
    let last = lines.iter().rfind(|line| line.stream == "stderr").or(lines.last());
    let reason = status.details.as_mut().and_then(|details| details.reason.as_mut());
    if let (Some(last), Some(reason)) = (last, reason) {
        *reason = format!("{reason}: {}", last.line.trim());
    }
}

/// Whether the call runs in a background job. The line is not drawn then, because the user may be typing.
fn is_background_job(engine: &EngineInterface) -> bool {
    let id = engine.find_decl("job id").ok().flatten().and_then(|job_id| {
        let call = EvaluatedCall::new(Span::unknown());
        engine.call_decl(job_id, call, PipelineData::empty(), true, false).ok()
    });
    let id = id.and_then(|id| id.into_value(Span::unknown()).ok()).and_then(|id| id.as_int().ok());
    id.is_some_and(|id| id != 0)
}

/// The text of the line: the action and its duration, then each service with its state, duration and reason.
fn describe_progress(
    what: &str,
    took: Duration,
    states: &[view::Status],
    all: bool,
    now: Timestamp,
) -> String {
    let on_its_way = |state: &&view::Status| {
        !all || matches!(state.state.as_str(), "waiting" | "starting" | "stopping" | "backoff")
    };
    let shown: Vec<_> = states.iter().filter(on_its_way).collect();
    let mut line = format!("{what} {}", seconds(took.as_secs()));
    for (n, state) in shown.iter().take(MAX_SHOWN).enumerate() {
        line.push_str(if n == 0 { ": " } else { ", " });
        line.push_str(&describe(state, now));
    }
    if shown.len() > MAX_SHOWN {
        let _ = write!(line, ", and {} more", shown.len() - MAX_SHOWN); // writing to a string cannot fail
    }
    line
}

fn describe(status: &view::Status, now: Timestamp) -> String {
    let details = status.details.as_ref();
    // The reason of a waiting service is more informative than its state.
    let reason =
        details.and_then(|details| details.reason.as_deref()).and_then(|reason| reason.lines().next());
    if let ("waiting", Some(reason)) = (status.state.as_str(), reason) {
        let reason = reason.split_once("; it is").map_or(reason, |(reason, _)| reason);
        return format!("{} {reason}", status.name);
    }
    let since = details.and_then(|details| details.since.as_deref()?.parse::<Timestamp>().ok());
    let long = since.and_then(|since| u64::try_from(now.duration_since(since).as_secs()).ok());
    let long = long.map(|long| format!(" {}", seconds(long))).unwrap_or_default();
    let health = if status.state == "ready" { format!(" ({})", status.health) } else { String::new() };
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{} is {}{health}{long}{reason}", status.name, status.state)
}

fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min {}s", seconds / 60, seconds % 60),
        _ => format!("{}hr {}min", seconds / 3600, seconds / 60 % 60),
    }
}

/// The part of the line that fits into the width, without characters that move the cursor.
fn fit_width(line: &str, width: usize) -> String {
    let mut room = width;
    let line = service_api::printable(line);
    let shown = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take_while(|c| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= room;
        room = room.saturating_sub(wide);
        fits
    });
    shown.collect()
}

fn print(text: &str) {
    let mut stderr = stderr().lock();
    // The terminal may be closed.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &str, state: &str, reason: Option<&str>) -> view::Status {
        let text = |text: &str| text.to_owned();
        let details = view::Details {
            cpu: None,
            memory_limit: None,
            cpu_limit: None,
            limits: None,
            since: (state != "waiting").then(|| text("2026-01-01T00:00:00Z")),
            exit_code: None,
            exit_signal: None,
            command: text("x"),
            cwd: text("/"),
            log: None,
            dependencies: Vec::new(),
            reason: reason.map(text),
            id: None,
            project: text("/services.toml"),
        };
        view::Status {
            name: text(name),
            status: text("running"),
            state: text(state),
            health: text("pending"),
            pid: None,
            uptime_ms: None,
            memory: None,
            restarts: 0,
            details: Some(details),
        }
    }

    #[test]
    fn the_line_tells_who_is_on_the_way_how_long_and_what_it_waits_for() {
        let states = [
            status("db", "starting", None),
            status("api", "waiting", Some("waits for `db` to be ready; it is starting")),
            status("old", "ready", None),
        ];
        let now = "2026-01-01T00:01:05Z".parse().unwrap();
        let took = Duration::from_millis(1500);
        assert_eq!(
            describe_progress("starting", took, &states, true, now),
            "starting 1s: db is starting 1min 5s, api waits for `db` to be ready"
        );
        let named = describe_progress("waiting until ready", took, &states[2..], false, now);
        assert_eq!(named, "waiting until ready 1s: old is ready (pending) 1min 5s");
    }

    #[test]
    fn the_line_is_cut_to_the_width_of_the_terminal_and_moves_no_cursor() {
        assert_eq!(fit_width("abc\ndef", 5), "abc d");
        assert_eq!(fit_width("日本語", 5), "日本");
        assert_eq!(fit_width("a\x1b[2Jb", 80), "ab");
    }
}
