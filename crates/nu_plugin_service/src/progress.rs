//! [`Progress`]: one line on a terminal that shows what a wait is waiting for, and leaves nothing behind.
//!
//! It is drawn only on standard error, only where that is a terminal, and only when nothing else has happened for a
//! moment: Nushell prints rows right after they came, and those must find an empty line.

use crate::client::{Client, path_of};
use crate::stream::Follow;
use crate::wire::Leash;
use jiff::Timestamp;
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{PipelineData, Span};
use service_api::{routes, view};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthChar;

/// A wait shorter than this is not worth a word.
const QUIET: Duration = Duration::from_millis(300);
/// How often the line is drawn anew: its seconds move.
const REDRAW: Duration = Duration::from_millis(250);
/// How many services are told of; the others are counted.
const TOLD: usize = 3;
/// What stays free behind the line: the terminal writes `^C` there, and that must not begin another line.
const MARGIN: usize = 3;
/// For the last words of a service.
const ASKED_WITHIN: Duration = Duration::from_millis(500);
/// Where a terminal does not say how wide it is.
const USUAL_WIDTH: usize = 80;

/// The line of one call. Dropping it clears the line.
pub(crate) struct Progress {
    /// What is going on, such as `starting`; nothing where nobody looks.
    what: Option<String>,
    engine: EngineInterface,
    names: String,
    client: Client,
    began: Instant,
    quiet_since: Instant,
    drawn: bool,
    feed: Option<Feed>,
    /// The command that takes back what goes on.
    undo: Option<String>,
}

/// The states as they change, read on a thread of its own.
struct Feed {
    newest: Arc<Mutex<Vec<view::Status>>>,
    _leash: Leash,
}

impl Progress {
    /// Nothing is drawn yet. `names`: whose states are told, joined by commas; empty: of all that are on their way.
    pub(crate) fn new(
        what: impl Into<String>,
        engine: &EngineInterface,
        client: Client,
        names: String,
    ) -> Self {
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

    /// Tells the command that takes back what goes on after a ctrl-c.
    pub(crate) fn undone_by(&mut self, undo: Option<String>) {
        self.undo = undo;
    }

    /// How long to listen for something else before the next [`tick`](Self::tick); for ever where nobody looks.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.what
            .as_ref()
            .map(|_| if self.drawn { REDRAW } else { QUIET.saturating_sub(self.quiet_since.elapsed()) })
    }

    /// Draws the line, if it is time.
    pub(crate) fn tick(&mut self) {
        if self.what.is_none() || self.quiet_since.elapsed() < QUIET {
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
        let line = line(what, self.began.elapsed(), &states, all, Timestamp::now());
        let width =
            terminal_size::terminal_size_of(stderr()).map_or(USUAL_WIDTH, |(width, _)| width.0.into());
        self.drawn = true;
        print(&format!("\r{}\x1b[K", fitting(&line, width.saturating_sub(MARGIN))));
    }

    /// Leaves the line empty, and alone for a moment: something is about to be printed there.
    pub(crate) fn clear(&mut self) {
        self.quiet_since = Instant::now();
        if std::mem::take(&mut self.drawn) {
            print("\r\x1b[K");
        }
    }

    /// A ctrl-c ends the waiting, not what is waited for: says so under the terminal's `^C`.
    pub(crate) fn interrupted(&mut self) {
        let line = if self.drawn { "" } else { "\n" };
        self.clear();
        if self.what.is_some() {
            let undo = self.undo.as_ref().map(|undo| format!("; `{undo}` reverts it")).unwrap_or_default();
            print(&format!("{line}the daemon continues: see `service status`{undo}\n"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Feed {
    fn open(client: &Client, names: &str) -> Option<Self> {
        let query = [("names", names), ("long", "true"), ("follow", "true")];
        let (follow, leash) = Follow::<Vec<view::Status>>::open(client, routes::STATUS, &query).ok()?;
        let newest = Arc::new(Mutex::new(Vec::new()));
        let board = Arc::clone(&newest);
        let client = client.within(ASKED_WITHIN);
        std::thread::spawn(move || {
            for mut states in follow.map_while(Result::ok) {
                let crashed = states.iter_mut().filter(|state| state.state == "backoff");
                crashed.take(TOLD).for_each(|state| add_last_words(state, &client));
                *board.lock().unwrap_or_else(PoisonError::into_inner) = states;
            }
        });
        Some(Self { newest, _leash: leash })
    }

    fn newest(&self) -> Vec<view::Status> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Adds to the reason of a service that waits for its next try what it said last.
fn add_last_words(status: &mut view::Status, client: &Client) {
    let why: Result<view::Why, _> = client.get(&path_of(routes::SERVICE_WHY, &status.name), &[]);
    let lines = why.map(|why| why.log).unwrap_or_default();
    let last = lines.iter().rfind(|line| line.stream == "stderr").or(lines.last());
    let reason = status.details.as_mut().and_then(|details| details.reason.as_mut());
    if let (Some(last), Some(reason)) = (last, reason) {
        *reason = format!("{reason}: {}", last.line.trim());
    }
}

/// Whether the call comes from a `job spawn`: somebody may be typing where the line would be drawn.
fn is_background_job(engine: &EngineInterface) -> bool {
    let id = engine.find_decl("job id").ok().flatten().and_then(|job_id| {
        let call = EvaluatedCall::new(Span::unknown());
        engine.call_decl(job_id, call, PipelineData::empty(), true, false).ok()
    });
    let id = id.and_then(|id| id.into_value(Span::unknown()).ok()).and_then(|id| id.as_int().ok());
    id.is_some_and(|id| id != 0)
}

/// What the line says: what is going on and how long, then each service, how long it has been so, and why.
fn line(what: &str, took: Duration, states: &[view::Status], all: bool, now: Timestamp) -> String {
    let on_its_way = |state: &&view::Status| {
        !all || matches!(state.state.as_str(), "waiting" | "starting" | "stopping" | "backoff")
    };
    let told: Vec<_> = states.iter().filter(on_its_way).collect();
    let mut line = format!("{what} {}", seconds(took.as_secs()));
    for (n, state) in told.iter().take(TOLD).enumerate() {
        line.push_str(if n == 0 { ": " } else { ", " });
        line.push_str(&describe(state, now));
    }
    if told.len() > TOLD {
        let _ = write!(line, ", and {} more", told.len() - TOLD); // a String takes everything
    }
    line
}

fn describe(status: &view::Status, now: Timestamp) -> String {
    let details = status.details.as_ref();
    // The reason of one that waits says more than its state, and the rest of the line says the state of the other.
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

/// As much of it as fits one line, without anything that would move the cursor.
fn fitting(line: &str, width: usize) -> String {
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
    // A terminal that is gone misses nothing.
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
            line("starting", took, &states, true, now),
            "starting 1s: db is starting 1min 5s, api waits for `db` to be ready"
        );
        let named = line("waiting until ready", took, &states[2..], false, now);
        assert_eq!(named, "waiting until ready 1s: old is ready (pending) 1min 5s");
    }

    #[test]
    fn the_line_is_cut_to_the_width_of_the_terminal_and_moves_no_cursor() {
        assert_eq!(fitting("abc\ndef", 5), "abc d");
        assert_eq!(fitting("日本語", 5), "日本");
        assert_eq!(fitting("a\x1b[2Jb", 80), "ab");
    }
}
