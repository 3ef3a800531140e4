//! `GET /metrics`: metrics of the services and of the daemon, for Prometheus and compatible scrapers.
//!
//! All values are in the snapshot of the fleet, so a scrape sends nothing to a service or a shim. Each chunk of the
//! text is written after the scraper has received the previous one, so an idle scraper uses the memory of one chunk.

mod text;

use super::accept;
use super::envelope_body::CHUNK_BYTES;
use super::list_body::{self, Chunk};
use super::state::ApiState;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use service_api::routes;
use service_core::health::Health;
use service_core::service::Goal;
use service_host::clock;
use service_host::procfs;
use service_openapi::tag;
use service_orchestrator::metrics::Histogram;
use service_orchestrator::snapshot::{FleetSnapshot, ServiceSnapshot};
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use text::{Format, MetricKind, TextWriter};
use tokio::runtime::Handle;

/// All metrics
///
/// The format is `OpenMetrics` 1.0 if the `Accept` header prefers it, otherwise Prometheus text 0.0.4. Prometheus
/// itself requests `OpenMetrics`.
#[utoipa::path(
    get,
    path = routes::METRICS,
    operation_id = "metrics",
    tag = tag::DAEMON,
    responses((status = 200, description = "the present metrics", content(
        (String = "text/plain", example = "service_up{service=\"web-app\"} 1\n"),
        (String = "application/openmetrics-text", example = "service_up{service=\"web-app\"} 1\n# EOF\n"),
    ))),
)]
pub(super) async fn metrics(State(api): State<Arc<ApiState>>, headers: HeaderMap) -> Response {
    let format = Format::from_accept(&accept::accept_header(&headers));
    let fleet = api.orchestrator.fleet_snapshot();
    let (mut text, mut position) = (TextWriter::new(format), MetricsPosition::default());
    list_body::respond(format.content_type(), move || {
        while text.len() < CHUNK_BYTES {
            match position.write_next(&mut text, &fleet) {
                Continue(()) => {}
                Break(()) => {
                    daemon(&mut text, &api);
                    text.end();
                    return Chunk::new(text.drain(), true);
                }
            }
        }
        Chunk::new(text.drain(), false)
    })
}

/// A family with samples of each service.
struct MetricFamily {
    name: &'static str,
    help: &'static str,
    of: MetricValue,
}

/// The value of a service; `None` if it is unknown.
enum MetricValue {
    Flag(fn(&ServiceSnapshot) -> Option<bool>),
    Count(fn(&ServiceSnapshot) -> Option<u64>),
    Distribution(fn(&ServiceSnapshot) -> &Histogram),
}

const FAMILIES: [MetricFamily; 10] = [
    MetricFamily {
        name: "service_wanted",
        help: "Whether the goal of the service is up.",
        of: MetricValue::Flag(|entry| Some(entry.snapshot.goal != Goal::Down)),
    },
    MetricFamily {
        name: "service_up",
        help: "Whether the service runs, ready or not. Absent while unknown.",
        of: MetricValue::Flag(|entry| {
            let state = &entry.snapshot.state;
            state.unknown_because().is_none().then(|| state.is_alive())
        }),
    },
    MetricFamily {
        name: "service_ready",
        help: "Whether the service runs and has become ready.",
        of: MetricValue::Flag(|entry| {
            Some(entry.snapshot.state.is_active() && entry.snapshot.state.ready().is_some())
        }),
    },
    MetricFamily {
        name: "service_healthy",
        help: "Whether the health checks of the service pass. Absent while unknown, and without a health \
               check.",
        of: MetricValue::Flag(|entry| match entry.snapshot.health {
            Health::Healthy => Some(true),
            Health::Unhealthy => Some(false),
            Health::Pending | Health::Alive | Health::None => None,
        }),
    },
    MetricFamily {
        name: "service_restarts",
        help: "Starts of the service by its restart policy.",
        of: MetricValue::Count(|entry| Some(entry.metrics.restarts)),
    },
    MetricFamily {
        name: "service_start_duration_seconds",
        help: "Time from the launch of the service until it was ready or completed.",
        of: MetricValue::Distribution(|entry| &entry.metrics.starts),
    },
    MetricFamily {
        name: "service_probe_duration_seconds",
        help: "Duration of the service's health checks.",
        of: MetricValue::Distribution(|entry| &entry.metrics.checks),
    },
    MetricFamily {
        name: "service_probe_failures",
        help: "Failed health checks of the service.",
        of: MetricValue::Count(|entry| Some(entry.metrics.failed_checks)),
    },
    MetricFamily {
        name: "service_log_written_bytes",
        help: "Bytes written to the log of the service, including time and stream of each line.",
        of: MetricValue::Count(|entry| entry.metrics.log_bytes()),
    },
    MetricFamily {
        name: "service_log_dropped_lines",
        help: "Lines of the service that could not be written to its log.",
        of: MetricValue::Count(|entry| Some(entry.missing.total)),
    },
];

/// The position in the text: the next family, and the next service in it.
#[derive(Default)]
struct MetricsPosition {
    family: usize,
    entry: usize,
}

impl MetricsPosition {
    /// Writes the samples of one more service, if there is one.
    fn write_next(&mut self, text: &mut TextWriter, fleet: &FleetSnapshot) -> ControlFlow<()> {
        let Some(family) = FAMILIES.get(self.family) else { return Break(()) };
        if self.entry == 0 {
            text.family(family.name, family.of.kind(), family.help);
        }
        match fleet.entries.get(self.entry) {
            Some(entry) => {
                family.sample(text, entry);
                self.entry += 1;
            }
            None => *self = Self { family: self.family + 1, entry: 0 },
        }
        Continue(())
    }
}

impl MetricValue {
    fn kind(&self) -> MetricKind {
        match self {
            Self::Flag(_) => MetricKind::Gauge,
            Self::Count(_) => MetricKind::Counter,
            Self::Distribution(_) => MetricKind::Histogram,
        }
    }
}

impl MetricFamily {
    fn sample(&self, text: &mut TextWriter, entry: &ServiceSnapshot) {
        let (service, kind) = (("service", &*entry.definition.name), self.of.kind());
        match &self.of {
            MetricValue::Flag(of) => {
                if let Some(holds) = of(entry) {
                    text.sample(&kind.sample_name(self.name), &[service], u8::from(holds));
                }
            }
            MetricValue::Count(of) => {
                if let Some(count) = of(entry) {
                    text.sample(&kind.sample_name(self.name), &[service], count);
                }
            }
            MetricValue::Distribution(of) => {
                let (histogram, name) = (of(entry), self.name);
                let [bucket, sum, count] = ["bucket", "sum", "count"].map(|part| format!("{name}_{part}"));
                for (bound, number) in histogram.buckets() {
                    text.sample(&bucket, &[service, ("le", &format!("{bound:?}"))], number);
                }
                text.sample(&bucket, &[service, ("le", "+Inf")], histogram.number);
                text.sample(&sum, &[service], histogram.seconds);
                text.sample(&count, &[service], histogram.number);
            }
        }
    }
}

/// The metrics of the daemon: its own metrics, and the `process_` metrics that every exporter has.
fn daemon(text: &mut TextWriter, api: &ApiState) {
    let one = |text: &mut TextWriter, name: &str, kind, help: &str, value: f64| {
        let name = text.family(name, kind, help);
        text.sample(&name, &[], value);
    };
    let own = procfs::read_self_usage();
    let began = clock::wall(api.began).as_duration().as_secs_f64();
    let tasks = Handle::current().metrics().num_alive_tasks() as f64;
    let (open, most) = (procfs::count_descriptors() as f64, procfs::max_descriptors() as f64);
    let name = text.family("orchestratord_build", MetricKind::Info, "The version of the daemon.");
    text.sample(&name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    one(text, "orchestratord_tasks", MetricKind::Gauge, "Live tasks of the daemon.", tasks);
    let turns = api.orchestrator.loop_metrics();
    let [longest, total] = turns.spans().map(|span| span.as_secs_f64());
    let help = "Turns of the owner task of the services, each of which delays other requests.";
    one(text, "orchestratord_turns", MetricKind::Counter, help, turns.number() as f64);
    let help = "Total duration of these turns.";
    one(text, "orchestratord_turn_seconds", MetricKind::Counter, help, total);
    let help = "Duration of the longest of these turns since the daemon started.";
    one(text, "orchestratord_longest_turn_seconds", MetricKind::Gauge, help, longest);
    let turns = &api.connection_turns;
    let [longest, total] = turns.spans().map(|span| span.as_secs_f64());
    let help = "Turns of the tasks of clients, each of which delays other requests.";
    one(text, "orchestratord_connection_turns", MetricKind::Counter, help, turns.number() as f64);
    let help = "Total duration of these turns.";
    one(text, "orchestratord_connection_turn_seconds", MetricKind::Counter, help, total);
    let help = "Duration of the longest of these turns since the daemon started.";
    one(text, "orchestratord_longest_connection_turn_seconds", MetricKind::Gauge, help, longest);
    let help = "Start time of the daemon, in seconds since 1970.";
    one(text, "process_start_time_seconds", MetricKind::Gauge, help, began);
    one(text, "process_cpu_seconds", MetricKind::Counter, "CPU time of the daemon.", own.cpu_seconds);
    let help = "Resident memory of the daemon.";
    one(text, "process_resident_memory_bytes", MetricKind::Gauge, help, own.memory as f64);
    one(text, "process_open_fds", MetricKind::Gauge, "Open descriptors of the daemon.", open);
    one(
        text,
        "process_max_fds",
        MetricKind::Gauge,
        "Maximum number of open descriptors of the daemon.",
        most,
    );
}
