//! Types that exist only in the document: envelopes with data or an error, bodies that are stricter in the document
//! than in the code, and the failures that operations have in common.
#![expect(dead_code, reason = "the types are described and never constructed")]

use serde::Serialize;
use service_api::{Code, DaemonHealth, Envelope, Event, Outcome, Problem, event, routes, view};
use std::collections::BTreeMap;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, ToSchema};

fn only_true() -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true])).build()
}

fn only_false() -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([false])).build()
}

fn null() -> Object {
    ObjectBuilder::new().schema_type(Type::Null).build()
}

/// Envelopes with data. With a generic type, the document would repeat the rows in each operation, without a name.
macro_rules! answers {
    ($($name:ident($($data:tt)+))*) => {$(
        /// An answer.
        #[derive(Serialize, ToSchema)]
        pub struct $name {
            #[schema(schema_with = only_true)]
            success: bool,
            data: $($data)+,
            #[schema(schema_with = null)]
            error: (),
        }
    )*};
}

answers! {
    ServiceAnswer(view::Service)
    ServicesAnswer(Vec<view::Service>)
    StepsAnswer(Vec<view::Step>)
    GraphAnswer(Graph)
    StatusAnswer(view::Status)
    StatusesAnswer(Vec<view::Status>)
    HealthAnswer(view::Health)
    WhyAnswer(view::Why)
    ChangesAnswer(Vec<view::Change>)
    OutcomeAnswer(Outcome)
    OutcomesAnswer(Vec<Outcome>)
    LogLineAnswer(view::LogLine)
    LogLinesAnswer(Vec<view::LogLine>)
    EventAnswer(Event)
    EventsAnswer(Vec<Event>)
    HistoryAnswer(Vec<HistoryRow>)
    VersionAnswer(view::Version)
    DaemonAnswer(view::Daemon)
    ManagersAnswer(Vec<view::Manager>)
    DaemonHealthAnswer(DaemonHealth)
}

/// Answers with notes: `Name(type of the data)`.
macro_rules! noted_answers {
    ($($name:ident($($data:tt)+))*) => {$(
        /// An answer, with notes about the project.
        #[derive(Serialize, ToSchema)]
        pub struct $name {
            #[schema(schema_with = only_true)]
            success: bool,
            data: $($data)+,
            #[schema(schema_with = null)]
            error: (),
            /// Sentences about the project itself; absent if there are none.
            #[schema(required = false, example = json!(["`/srv/shop/services.toml` is gone: running services can still be stopped"]))]
            notes: Vec<String>,
        }
    )*};
}

noted_answers! {
    StatusTableAnswer(Vec<view::Status>)
    WhysAnswer(Vec<view::Why>)
}

/// Lines of streams. Each line is an envelope.
macro_rules! lines {
    ($($name:ident($answer:ident))*) => {$(
        /// One line of a stream. No line follows an error.
        #[derive(Serialize, ToSchema)]
        #[serde(untagged)]
        pub enum $name {
            Answer($answer),
            Failed(Failed),
        }
    )*};
}

lines! {
    StatusesOnALine(StatusesAnswer)
    OutcomeOnALine(OutcomeAnswer)
    LogLineOnALine(LogLineAnswer)
    EventOnALine(EventAnswer)
}

/// An error.
#[derive(Serialize, ToSchema)]
pub struct Failed {
    #[schema(schema_with = only_false)]
    success: bool,
    #[schema(schema_with = null)]
    data: (),
    error: Problem,
}

/// A row of the history: an event or a check; with `starts`, one start.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum HistoryRow {
    HistoryEntry(event::HistoryEntry),
    StartRecord(event::StartRecord),
}

/// An action request for the service in the path.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceActionRequest {
    /// Start: also start dependencies. Stop: stop running dependents first. Restart: both. Absent: the value of
    /// `auto_start_dependencies` for a start, else true.
    relatives: Option<bool>,
    /// Whether the response waits until the action is done, or is sent as soon as the action has begun.
    #[schema(required = false, default = true)]
    wait: bool,
    /// How long to wait, in milliseconds; absent: until the action is done or can no longer succeed.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    timeout_ms: Option<u64>,
}

/// A graph: its nodes; with `format`, a drawing.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Graph {
    Nodes(Vec<view::Node>),
    Drawn(String),
}

/// The format of a drawing.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Drawing {
    /// A tree for a terminal, with states.
    Tree,
    /// A flowchart of Mermaid.
    Mermaid,
    /// A digraph of Graphviz.
    Dot,
}

/// The states to wait for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// The service is ready for its dependents.
    Ready,
    /// The last health check passed.
    Healthy,
    /// The process of the service exists.
    Running,
    /// No process of the service exists.
    Stopped,
    /// The service has ended successfully by itself.
    Completed,
}

/// The position in the events: after the event with this number, or from this time on.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Since {
    Number(Number),
    Time(Moment),
}

/// The number of an event.
#[derive(Serialize, ToSchema)]
#[schema(maximum = 9_007_199_254_740_991_u64)]
pub struct Number(u64);

/// A time, RFC 3339.
#[derive(Serialize, ToSchema)]
#[schema(format = DateTime)]
pub struct Moment(String);

/// The service that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct Service {
    /// The name of a service.
    #[param(example = "web-app")]
    name: String,
}

/// The position of a client of server-sent events.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct LastSeen {
    /// The `id` of the last received event. It takes precedence over `since`.
    #[param(rename = "Last-Event-ID", value_type = u64, required = false, maximum = 9_007_199_254_740_991_u64, example = 17)]
    last_event_id: Option<String>,
}

/// Responses that operations have in common: rows in one envelope, or line by line.
macro_rules! row_answers {
    ($($name:ident: $list:literal $line:literal, $description:literal;)*) => {$(
        pub enum $name {}

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let content = |schema| ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
                let response = ResponseBuilder::new()
                    .description($description)
                    .content("application/json", content($list))
                    .content(routes::NDJSON, content($line))
                    .build();
                BTreeMap::from([("200".to_owned(), response.into())])
            }
        }
    )*};
}

row_answers! {
    OutcomeRows: "OutcomesAnswer" "OutcomeOnALine", "a row for each service";
    ActionRows: "OutcomesAnswer" "OutcomeOnALine", "a row for each service";
    LogRows: "LogLinesAnswer" "LogLineOnALine", "the lines, oldest first";
}

/// The failures of operations. Each has the HTTP status of its code.
macro_rules! failures {
    ($($name:ident: $code:ident, $message:literal, $when:literal;)*) => {$(
        pub enum $name {}

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                failure(Problem::new(Code::$code, $message), $when)
            }
        }
    )*};
}

failures! {
    Malformed: BadRequest, "`since` is not a time", "`bad_request`: the request is malformed; nothing was done";
    NoService: NotFound, "there is no service `web`", "`not_found`: there is no service with this name; nothing was done";
    Gone: Gap, "some events after 3 were deleted; the oldest is 907",
        "`gap`: some events after this number were deleted, or the number was never assigned";
    Conflict: DependencyNotRunning, "cannot start `web-app`: `database` is not running",
        "nothing was done: `manager_disabled`, `dependency_not_running` or `name_taken`";
    WrongFile: BadDefinition, "`prot` is not a key of a service", "`bad_definition`: `services.toml`, or the \
                                                                   definition in the request, is invalid; \
                                                                   nothing was done";
    NotStarted: StartFailed, "cannot restart `web-app`: program `./shop` does not exist; nothing was stopped",
        "`start_failed`: nothing was done, because a start would fail; `others` has the further failures";
    StopFailed: StopFailed, "cannot stop the services: cannot stop `database`: it did not end",
        "`stop_failed`: not every service could be stopped, so the daemon continues";
    Untold: ManagerFailed, "cannot read the log of `web`: there is no `podman` on this machine",
        "`manager_failed`: its manager does not return its log. `too_much`: the log exceeds the limit; \
         request fewer lines";
    Unfit: Unfit, "cannot do all of its work: the journal cannot be written: No space left on device",
        "`unfit`: the daemon responds but cannot do its work. `busy`: too many clients are connected";
    Stranger: Unauthorized, "the request needs a token", "`unauthorized`: over TCP, no token \
                                                                        or an invalid one";
    Barred: Forbidden, "the token `read` may only read",
        "`forbidden`: over TCP, the token does not allow the request, or its host or origin is not accepted";
    Busy: Busy, "too many streams are open", "`busy`: too many streams or log readers. `daemon_unreachable`: \
                                              the daemon is ending; try again";
    Large: TooLarge, "a request may have 1 MiB", "`too_large`: the body is too large";
    Late: TooSlow, "the body did not arrive within 10 s", "`too_slow`: the body did not arrive in time";
    Broken: Internal, "cannot read the journal: Input/output error", "`internal`: an error of the daemon or \
                                                                      of the machine";
}

/// The errors that are possible before any operation begins; for an operation with a body, also the errors of the body.
pub(super) fn common_failures(has_body: bool) -> impl Iterator<Item = (String, RefOr<Response>)> {
    let always = [Stranger::responses(), Barred::responses(), Busy::responses()].into_iter();
    let of_bodies = [Large::responses(), Late::responses()].into_iter().filter(move |_| has_body);
    always.chain(of_bodies).flatten()
}

fn failure(problem: Problem, when: &str) -> BTreeMap<String, RefOr<Response>> {
    let status = problem.code.http_status().to_string();
    let example = serde_json::to_value(Envelope::<()>::failure(problem)).expect("an envelope is JSON");
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Failed"))).example(Some(example)).build();
    let response = ResponseBuilder::new().description(when).content("application/json", content).build();
    BTreeMap::from([(status, response.into())])
}
