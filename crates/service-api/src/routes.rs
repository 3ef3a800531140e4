//! The paths of the API, each named once.

/// The beginning of every path.
pub const PREFIX: &str = "/api/v1";
/// `GET`: the definitions of all services.
pub const LIST: &str = "/api/v1/services/list";
/// `GET`: the state of many services; `?names=a,b&long=true&follow=true`.
pub const STATUS: &str = "/api/v1/services/status";
/// `GET`: events and health checks of services; `?names=a,b&since=<RFC 3339>&starts=true`.
pub const HISTORY: &str = "/api/v1/services/history";
/// `GET`: waits for a state of services; `?names=a,b&for=ready&timeout_ms=1000`.
pub const WAIT: &str = "/api/v1/wait";
/// `GET`: log lines of many services, by time; `?names=a,b&tail=100&since=<RFC 3339>&follow=true`.
pub const LOGS: &str = "/api/v1/logs";
/// `GET`: start order; `?names=a,b`.
pub const ORDER: &str = "/api/v1/services/order";
/// `GET`: dependencies and states; `?names=a,b`.
pub const GRAPH: &str = "/api/v1/graph";
/// `GET`: the changes that the present `services.toml` would make to running services.
pub const PLAN: &str = "/api/v1/plan";
/// `POST`: make these changes; body [`ApplyRequest`](crate::ApplyRequest).
pub const APPLY: &str = "/api/v1/apply";
/// `POST`: start services; body [`ActionRequest`](crate::ActionRequest).
pub const START: &str = "/api/v1/services/start";
/// `POST`: stop services; body [`ActionRequest`](crate::ActionRequest).
pub const STOP: &str = "/api/v1/services/stop";
/// `POST`: restart services; body [`ActionRequest`](crate::ActionRequest).
pub const RESTART: &str = "/api/v1/services/restart";
/// `POST`: define services outside the file; body [`AddRequest`](crate::AddRequest).
pub const ADD: &str = "/api/v1/services/add";
/// `POST`: stop and remove added services; body [`ActionRequest`](crate::ActionRequest).
pub const REMOVE: &str = "/api/v1/services/remove";
/// `GET`: the definition of one service.
pub const SERVICE: &str = "/api/v1/services/{name}";
/// `GET`: the state of one service.
pub const SERVICE_STATUS: &str = "/api/v1/services/{name}/status";
/// `GET`: checks one service now.
pub const SERVICE_HEALTH: &str = "/api/v1/services/{name}/health";
/// `GET`: explains the state of one service.
pub const SERVICE_WHY: &str = "/api/v1/services/{name}/why";
/// `GET`: explains every service with a problem; with `?names=a,b`, the named services.
pub const WHY: &str = "/api/v1/why";
/// `GET`: log lines of one service; `?tail=100&since=<RFC 3339>`.
pub const SERVICE_LOGS: &str = "/api/v1/services/{name}/logs";
/// `POST`: start one service; optional body [`ActionRequest`](crate::ActionRequest) without names.
pub const SERVICE_START: &str = "/api/v1/services/{name}/start";
/// `POST`: stop one service.
pub const SERVICE_STOP: &str = "/api/v1/services/{name}/stop";
/// `POST`: restart one service.
pub const SERVICE_RESTART: &str = "/api/v1/services/{name}/restart";
/// `GET`: numbered events; `?names=a,b&since=<seq or RFC 3339>&limit=100&follow=true`.
pub const EVENTS: &str = "/api/v1/events";
/// `GET`: the managers, with their commands and the presence of their programs.
pub const MANAGERS: &str = "/api/v1/managers";
/// `GET`: versions of daemon and API.
pub const VERSION: &str = "/api/v1/version";
/// `GET`: whether the daemon can do its work ([`DaemonHealth`](crate::DaemonHealth)).
pub const HEALTH: &str = "/api/v1/health";
/// `GET`: metrics for Prometheus.
pub const METRICS: &str = "/metrics";
/// `GET`: the daemon itself ([`Daemon`](crate::view::Daemon)).
pub const DAEMON: &str = "/api/v1/daemon";
/// `POST`: end the daemon; `?services=true` stops its services first.
pub const DAEMON_STOP: &str = "/api/v1/daemon/stop";
/// `GET`: the OpenAPI 3.1 document of the API.
pub const OPENAPI: &str = "/api/v1/openapi.json";

/// Words that stand in place of a service's name in paths. A service cannot have one of these names.
pub const RESERVED_NAMES: [&str; 9] =
    ["list", "status", "order", "history", "start", "stop", "restart", "add", "remove"];

/// Media type of a response with one JSON object a line.
pub const NDJSON: &str = "application/x-ndjson";
/// Media type of server-sent events.
pub const SSE: &str = "text/event-stream";
/// The header with the kind of an automatic caller: `hook`.
pub const CALLER: &str = "service-caller";
/// The header with the number of the last event that a client of server-sent events has received.
pub const LAST_EVENT_ID: &str = "last-event-id";
