//! `GET /metrics`: the services and the daemon in numbers, for Prometheus and whoever reads the same.
//!
//! Everything is read off the board, so that a scrape disturbs nobody; nothing is asked of a service or a shim.

mod page;

use super::document::tag;
use crate::board::{Board, Entry};
use crate::clock;
use crate::daemon::Shared;
use crate::tally::Histogram;
use crate::usage;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use page::{Format, Kind, Page};
use service_api::routes;
use service_core::health::Health;
use service_core::service::Goal;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What the lines of one service take, about.
const ROOM: usize = 2560;

/// Everything in numbers
///
/// `OpenMetrics` 1.0 to those whose `Accept` prefers it, as Prometheus does, else Prometheus text 0.0.4.
#[utoipa::path(
    get,
    path = routes::METRICS,
    operation_id = "metrics",
    tag = tag::DAEMON,
    responses((status = 200, description = "the numbers of now", content(
        (String = "text/plain", example = "service_up{service=\"web-app\"} 1\n"),
        (String = "application/openmetrics-text", example = "service_up{service=\"web-app\"} 1\n# EOF\n"),
    ))),
)]
pub(super) async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::wanted(&accept.join(","));
    let board = shared.orchestrator.board();
    let mut page = Page::new(format, ROOM * (board.entries.len() + 1));
    services(&mut page, &board);
    daemon(&mut page, &shared);
    ([(CONTENT_TYPE, format.content_type())], page.end()).into_response()
}

fn services(page: &mut Page, board: &Board) {
    gauge(page, board, "service_wanted", "Whether somebody wants the service to run.", |entry| {
        Some(entry.snapshot.goal != Goal::Down)
    });
    gauge(page, board, "service_up", "Whether the service runs, ready or not.", |entry| {
        Some(entry.snapshot.state.is_alive())
    });
    gauge(page, board, "service_ready", "Whether the service runs and has become ready.", |entry| {
        Some(entry.snapshot.state.is_going() && entry.snapshot.state.ready().is_some())
    });
    let help = "Whether the health checks of the service pass. Absent while nothing is known.";
    gauge(page, board, "service_healthy", help, |entry| match entry.snapshot.health {
        Health::Healthy => Some(true),
        Health::Unhealthy => Some(false),
        Health::Pending | Health::None => None,
    });
    counter(page, board, "service_restarts", "Starts of the service by its restart policy.", |entry| {
        Some(entry.tally.restarts)
    });
    let help = "Time from the launch of the service until it was ready or had done its work.";
    histogram(page, board, "service_start_duration_seconds", help, |entry| &entry.tally.starts);
    let help = "Time that health checks of the service took.";
    histogram(page, board, "service_probe_duration_seconds", help, |entry| &entry.tally.checks);
    counter(page, board, "service_probe_failures", "Health checks of the service that failed.", |entry| {
        Some(entry.tally.failed_checks)
    });
    let help = "Bytes written to the log of the service, with time and stream in front of each line.";
    counter(page, board, "service_log_written_bytes", help, |entry| entry.tally.log_bytes());
    let help = "Lines of the service that could not be written to its log.";
    counter(page, board, "service_log_dropped_lines", help, |entry| Some(entry.missing.lines));
}

fn gauge(page: &mut Page, board: &Board, name: &str, help: &str, of: impl Fn(&Entry) -> Option<bool>) {
    let name = page.family(name, Kind::Gauge, help);
    for entry in &board.entries {
        if let Some(holds) = of(entry) {
            page.sample(&name, &[("service", &entry.definition.name)], u8::from(holds));
        }
    }
}

fn counter(page: &mut Page, board: &Board, name: &str, help: &str, of: impl Fn(&Entry) -> Option<u64>) {
    let name = page.family(name, Kind::Counter, help);
    for entry in &board.entries {
        if let Some(count) = of(entry) {
            page.sample(&name, &[("service", &entry.definition.name)], count);
        }
    }
}

fn histogram(page: &mut Page, board: &Board, name: &str, help: &str, of: impl Fn(&Entry) -> &Histogram) {
    page.family(name, Kind::Histogram, help);
    let [bucket, sum, count] = ["bucket", "sum", "count"].map(|part| format!("{name}_{part}"));
    for entry in &board.entries {
        let (histogram, service) = (of(entry), ("service", &*entry.definition.name));
        for (bound, number) in histogram.buckets() {
            page.sample(&bucket, &[service, ("le", &format!("{bound:?}"))], number);
        }
        page.sample(&bucket, &[service, ("le", "+Inf")], histogram.number);
        page.sample(&sum, &[service], histogram.seconds);
        page.sample(&count, &[service], histogram.number);
    }
}

/// The names that every exporter has for itself, and what is ours alone.
fn daemon(page: &mut Page, shared: &Shared) {
    let one = |page: &mut Page, name: &str, kind, help: &str, value: f64| {
        let name = page.family(name, kind, help);
        page.sample(&name, &[], value);
    };
    let own = usage::own();
    let began = clock::wall(shared.began).as_duration().as_secs_f64();
    let tasks = Handle::current().metrics().num_alive_tasks() as f64;
    let (open, most) = (usage::descriptors() as f64, usage::most_descriptors() as f64);
    let name = page.family("orchestratord_build", Kind::Info, "The version of the daemon.");
    page.sample(&name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    one(page, "orchestratord_tasks", Kind::Gauge, "Tasks of the daemon that are alive.", tasks);
    let help = "Start of the daemon, in seconds since 1970.";
    one(page, "process_start_time_seconds", Kind::Gauge, help, began);
    one(page, "process_cpu_seconds", Kind::Counter, "CPU time that the daemon has used.", own.cpu_seconds);
    let help = "Memory of the daemon that is resident.";
    one(page, "process_resident_memory_bytes", Kind::Gauge, help, own.memory as f64);
    one(page, "process_open_fds", Kind::Gauge, "Descriptors that the daemon has open.", open);
    one(page, "process_max_fds", Kind::Gauge, "Descriptors that the daemon may have open.", most);
}
