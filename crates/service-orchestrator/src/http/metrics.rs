//! `GET /metrics`: the services and the daemon in numbers, for Prometheus and whoever reads the same.
//!
//! Everything is read off the board, so that a scrape disturbs nobody; nothing is asked of a service or a shim. It is written
//! as it is taken, so that a scraper that takes nothing costs a piece.

mod text;

use super::accept;
use super::journal_body::PIECE;
use super::list_body::{self, Piece};
use super::openapi::tag;
use super::state::ApiState;
use crate::board::{Board, Entry};
use crate::host::clock;
use crate::host::procfs;
use crate::tally::Histogram;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use service_api::routes;
use service_core::health::Health;
use service_core::service::Goal;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use text::{Format, Kind, Page};
use tokio::runtime::Handle;

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
pub(super) async fn metrics(State(api): State<Arc<ApiState>>, headers: HeaderMap) -> Response {
    let format = Format::wanted(&accept::said(&headers));
    let board = api.orchestrator.board();
    let (mut page, mut place) = (Page::new(format), Place::default());
    list_body::answer(format.content_type(), move || {
        while page.len() < PIECE {
            match place.go_on(&mut page, &board) {
                Continue(()) => {}
                Break(()) => {
                    daemon(&mut page, &api);
                    page.end();
                    return Piece::of(page.take(), true);
                }
            }
        }
        Piece::of(page.take(), false)
    })
}

/// A family that has samples of each service.
struct Family {
    name: &'static str,
    help: &'static str,
    of: Of,
}

/// What a sample says of a service; nothing where it is not known.
enum Of {
    Flag(fn(&Entry) -> Option<bool>),
    Count(fn(&Entry) -> Option<u64>),
    Spread(fn(&Entry) -> &Histogram),
}

const FAMILIES: [Family; 10] = [
    Family {
        name: "service_wanted",
        help: "Whether somebody wants the service to run.",
        of: Of::Flag(|entry| Some(entry.snapshot.goal != Goal::Down)),
    },
    Family {
        name: "service_up",
        help: "Whether the service runs, ready or not. Absent while that cannot be told.",
        of: Of::Flag(|entry| {
            let state = &entry.snapshot.state;
            state.unknown_because().is_none().then(|| state.is_alive())
        }),
    },
    Family {
        name: "service_ready",
        help: "Whether the service runs and has become ready.",
        of: Of::Flag(|entry| Some(entry.snapshot.state.is_going() && entry.snapshot.state.ready().is_some())),
    },
    Family {
        name: "service_healthy",
        help: "Whether the health checks of the service pass. Absent while nothing is known, and where there are none.",
        of: Of::Flag(|entry| match entry.snapshot.health {
            Health::Healthy => Some(true),
            Health::Unhealthy => Some(false),
            Health::Pending | Health::Alive | Health::None => None,
        }),
    },
    Family {
        name: "service_restarts",
        help: "Starts of the service by its restart policy.",
        of: Of::Count(|entry| Some(entry.tally.restarts)),
    },
    Family {
        name: "service_start_duration_seconds",
        help: "Time from the launch of the service until it was ready or had done its work.",
        of: Of::Spread(|entry| &entry.tally.starts),
    },
    Family {
        name: "service_probe_duration_seconds",
        help: "Time that health checks of the service took.",
        of: Of::Spread(|entry| &entry.tally.checks),
    },
    Family {
        name: "service_probe_failures",
        help: "Health checks of the service that failed.",
        of: Of::Count(|entry| Some(entry.tally.failed_checks)),
    },
    Family {
        name: "service_log_written_bytes",
        help: "Bytes written to the log of the service, with time and stream in front of each line.",
        of: Of::Count(|entry| entry.tally.log_bytes()),
    },
    Family {
        name: "service_log_dropped_lines",
        help: "Lines of the service that could not be written to its log.",
        of: Of::Count(|entry| Some(entry.missing.total)),
    },
];

/// How far a page is: which family, and which service of it is next.
#[derive(Default)]
struct Place {
    family: usize,
    entry: usize,
}

impl Place {
    /// Writes the samples of one more service, unless there is none.
    fn go_on(&mut self, page: &mut Page, board: &Board) -> ControlFlow<()> {
        let Some(family) = FAMILIES.get(self.family) else { return Break(()) };
        if self.entry == 0 {
            page.family(family.name, family.of.kind(), family.help);
        }
        match board.entries.get(self.entry) {
            Some(entry) => {
                family.sample(page, entry);
                self.entry += 1;
            }
            None => *self = Self { family: self.family + 1, entry: 0 },
        }
        Continue(())
    }
}

impl Of {
    fn kind(&self) -> Kind {
        match self {
            Self::Flag(_) => Kind::Gauge,
            Self::Count(_) => Kind::Counter,
            Self::Spread(_) => Kind::Histogram,
        }
    }
}

impl Family {
    fn sample(&self, page: &mut Page, entry: &Entry) {
        let (service, kind) = (("service", &*entry.definition.name), self.of.kind());
        match &self.of {
            Of::Flag(of) => {
                if let Some(holds) = of(entry) {
                    page.sample(&kind.samples(self.name), &[service], u8::from(holds));
                }
            }
            Of::Count(of) => {
                if let Some(count) = of(entry) {
                    page.sample(&kind.samples(self.name), &[service], count);
                }
            }
            Of::Spread(of) => {
                let (histogram, name) = (of(entry), self.name);
                let [bucket, sum, count] = ["bucket", "sum", "count"].map(|part| format!("{name}_{part}"));
                for (bound, number) in histogram.buckets() {
                    page.sample(&bucket, &[service, ("le", &format!("{bound:?}"))], number);
                }
                page.sample(&bucket, &[service, ("le", "+Inf")], histogram.number);
                page.sample(&sum, &[service], histogram.seconds);
                page.sample(&count, &[service], histogram.number);
            }
        }
    }
}

/// The names that every exporter has for itself, and what is ours alone.
fn daemon(page: &mut Page, api: &ApiState) {
    let one = |page: &mut Page, name: &str, kind, help: &str, value: f64| {
        let name = page.family(name, kind, help);
        page.sample(&name, &[], value);
    };
    let own = procfs::read_self_usage();
    let began = clock::wall(api.began).as_duration().as_secs_f64();
    let tasks = Handle::current().metrics().num_alive_tasks() as f64;
    let (open, most) = (procfs::count_descriptors() as f64, procfs::max_descriptors() as f64);
    let name = page.family("orchestratord_build", Kind::Info, "The version of the daemon.");
    page.sample(&name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    one(page, "orchestratord_tasks", Kind::Gauge, "Tasks of the daemon that are alive.", tasks);
    let turns = api.orchestrator.loop_metrics();
    let [longest, total] = turns.spans().map(|span| span.as_secs_f64());
    let help = "Turns of the daemon's owner of the services, in each of which nobody else is answered.";
    one(page, "orchestratord_turns", Kind::Counter, help, turns.number() as f64);
    let help = "Time that these turns took together.";
    one(page, "orchestratord_turn_seconds", Kind::Counter, help, total);
    let help = "Time that the longest of these turns took, since the daemon started.";
    one(page, "orchestratord_longest_turn_seconds", Kind::Gauge, help, longest);
    let help = "Start of the daemon, in seconds since 1970.";
    one(page, "process_start_time_seconds", Kind::Gauge, help, began);
    one(page, "process_cpu_seconds", Kind::Counter, "CPU time that the daemon has used.", own.cpu_seconds);
    let help = "Memory of the daemon that is resident.";
    one(page, "process_resident_memory_bytes", Kind::Gauge, help, own.memory as f64);
    one(page, "process_open_fds", Kind::Gauge, "Descriptors that the daemon has open.", open);
    one(page, "process_max_fds", Kind::Gauge, "Descriptors that the daemon may have open.", most);
}
