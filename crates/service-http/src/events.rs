//! The routes of events, as a list or as a stream (NDJSON, server-sent events), and of the history.

use super::accept::{self, prefers, weight};
use super::current::NamesQuery;
use super::journal_body::{self, JournalBody};
use super::reply::{ErrorResponse, QueryParams, deserialize_count, to_usize};
use super::state::ApiState;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use service_api::{Code, Envelope, Event, Problem, routes};
use service_openapi::{
    Broken, EventOnALine, EventsAnswer, Gone, HistoryAnswer, LastSeen, Malformed, NoService, tag,
};
use service_store::journal::{self, EventQuery, EventRecord, LiveMessage, RowCursor, Subscription};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_stream::{Stream, StreamExt};
use utoipa::IntoParams;

/// The number of events without `since` and `limit`. A follower gets only new events.
const DEFAULT_LIMIT: usize = 100;

/// `?since=17&limit=100`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventRange {
    /// Only events after the event with this number, or from this time on.
    #[param(value_type = service_openapi::Since, required = false, example = 17)]
    since: Option<String>,
    /// Maximum number of rows: with `since` the first rows, else the last. Absent: with `since` all rows, else 100
    /// events, or the whole history.
    #[serde(default, deserialize_with = "deserialize_count")]
    #[param(example = 20, maximum = 9_007_199_254_740_991_u64)]
    limit: Option<u64>,
    /// Only events with this cause: a kind (`user`, `hook`, `token`, `policy`, `program`, `daemon`), or a text that the
    /// cause contains. The checks of a history are not filtered.
    #[param(required = false, example = "user")]
    by: Option<String>,
}

impl EventRange {
    fn query(self, names: &NamesQuery, last_seen: Option<&str>) -> Result<EventQuery, Problem> {
        let (last_seen, since) =
            (last_seen.map(str::parse).transpose(), self.since.as_deref().map(str::parse).transpose());
        let last_seen = last_seen.map_err(|problem: Problem| {
            let message = problem.message.replacen("`since`", "`Last-Event-ID`", 1);
            Problem { message, ..problem }
        })?;
        Ok(EventQuery {
            names: names.list(),
            since: last_seen.or(since?),
            limit: self.limit.map(to_usize),
            by: self.by.filter(|by| !by.is_empty()),
        })
    }
}

/// `?follow=true`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Following {
    /// Only as NDJSON or server-sent events: continue with new events, from now or from `since`.
    #[serde(default)]
    #[param(default = false, example = false)]
    follow: bool,
}

/// `?starts=true`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StartsQuery {
    /// Return one row for each start of a service instead of the events.
    #[serde(default)]
    #[param(default = false, example = false)]
    starts: bool,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventFormat {
    /// One envelope around a list.
    List,
    /// One envelope per line.
    Lines,
    /// Server-sent events.
    Sse,
}

impl EventFormat {
    fn from_headers(headers: &HeaderMap) -> Self {
        let said = accept::accept_header(headers);
        let wanted = |kind| if prefers(&said, kind) { weight(&said, kind, None) } else { 0.0 };
        match (wanted(routes::SSE), wanted(routes::NDJSON)) {
            (sent, lines) if sent > 0.0 && sent >= lines => Self::Sse,
            (_, lines) if lines > 0.0 => Self::Lines,
            _ => Self::List,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::List => "application/json",
            Self::Lines => routes::NDJSON,
            Self::Sse => routes::SSE,
        }
    }

    fn event(self, event: &Event, json: &str) -> String {
        match self {
            Self::Sse => format!("id: {}\nevent: {}\ndata: {json}\n\n", event.seq, event.event),
            Self::List | Self::Lines => format!("{{\"success\":true,\"data\":{json},\"error\":null}}\n"),
        }
    }

    fn format(self, event: &Event) -> String {
        let json = serde_json::to_string(event);
        json.map(|json| self.event(event, &json)).unwrap_or_default()
    }

    /// A heartbeat: there are no further events up to this number. The number is the id of the server-sent event, so
    /// that a client that follows a few services continues after this number.
    fn heartbeat(self, last: u64) -> String {
        match self {
            Self::Sse => format!(": nothing new\nid: {last}\n\n"),
            Self::List | Self::Lines => "\n".to_owned(),
        }
    }

    fn lag_message(self) -> String {
        let problem = Problem::new(Code::TooSlow, "events were not read fast enough; the stream ends here")
            .help("repeat the request with `since` and the last known number");
        let json = serde_json::to_string(&Envelope::<()>::failure(problem)).unwrap_or_default();
        match self {
            Self::Sse => format!("event: problem\ndata: {json}\n\n"),
            Self::List | Self::Lines => format!("{json}\n"),
        }
    }
}

/// The events
///
/// The oldest event is first. Numbers are consecutive and never assigned twice. A followed stream has neither gaps nor
/// duplicates between past and new events. An empty line or a comment is sent every 15 seconds as heartbeat. A client
/// that is 4096 events behind gets `too_slow` as the last message.
#[utoipa::path(
    get,
    path = routes::EVENTS,
    operation_id = "events",
    tag = tag::EVENTS,
    params(NamesQuery, EventRange, Following, LastSeen),
    responses(
        (status = 200, description = "the events", content(
            (EventsAnswer = "application/json"),
            (EventOnALine = routes::NDJSON),
            (String = routes::SSE, example = "id: 18\nevent: state\ndata: {\"seq\":18}\n\n"),
        )),
        Malformed, NoService, Gone, Broken,
    ),
)]
pub(super) async fn events(
    State(api): State<Arc<ApiState>>,
    headers: HeaderMap,
    QueryParams(names): QueryParams<NamesQuery>,
    QueryParams(range): QueryParams<EventRange>,
    QueryParams(Following { follow }): QueryParams<Following>,
) -> Result<Response, ErrorResponse> {
    let form = EventFormat::from_headers(&headers);
    if follow && form == EventFormat::List {
        return Err(Problem::new(Code::BadRequest, "cannot follow a list")
            .help(format!("send `Accept: {}` or `Accept: {}`", routes::NDJSON, routes::SSE))
            .into());
    }
    // A header that is not text is not a number either.
    let last_seen = headers.get(routes::LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default());
    let mut query = range.query(&names, last_seen)?;
    if query.since.is_none() {
        query.limit.get_or_insert(if follow { 0 } else { DEFAULT_LIMIT });
    }
    let view = journal(&api, &query.names).await?;
    let (past, asked) = (view.past(), query.clone());
    let write = match form {
        EventFormat::List => journal_body::RowFormat::List,
        EventFormat::Lines => journal_body::RowFormat::Each(|event| EventFormat::Lines.format(event)),
        EventFormat::Sse => journal_body::RowFormat::Each(|event| EventFormat::Sse.format(event)),
    };
    let (first, rest) =
        journal_body::begin(&api.journal_reads, write, move || journal::Events::new(past, asked)).await?;
    let body = match follow {
        // The first heartbeat is sent at once, so that a client without events has a number to continue from.
        true => {
            let now = tokio_stream::once(form.heartbeat(view.last)).chain(live(view, query, form));
            body(first, rest.chain(now.map(|text| Ok(Bytes::from(text)))))
        }
        false => finite_body(first, rest),
    };
    Ok(([(header::CONTENT_TYPE, form.media_type()), (header::CACHE_CONTROL, "no-cache")], body)
        .into_response())
}

/// The journal for a reader of these services. Each must be defined or have events in the journal.
async fn journal(api: &ApiState, names: &[String]) -> Result<Subscription, Problem> {
    let unknown = match api.orchestrator.journal(names.to_vec()).await {
        Err(problem) if problem.code == Code::NotFound => problem,
        answer => return answer,
    };
    let view = api.orchestrator.journal(Vec::new()).await?;
    let plan = api.orchestrator.plan();
    let gone: Vec<String> = names.iter().filter(|name| plan.id(name).is_none()).cloned().collect();
    let past = view.past();
    let told = move || {
        let told = |name: &String| past.mentions(name);
        gone.iter().map(told).collect::<Result<Vec<bool>, Problem>>()
    };
    let all = api.journal_reads.run(told).await?.into_iter().all(|told| told);
    if all { Ok(view) } else { Err(unknown) }
}

/// Events and health check results of services
///
/// The rows are ordered by time. Of the checks during a start, only the last is recorded.
#[utoipa::path(
    get,
    path = routes::HISTORY,
    operation_id = "history",
    tag = tag::EVENTS,
    params(NamesQuery, EventRange, StartsQuery),
    responses(
        (status = 200, description = "the rows, oldest first", body = HistoryAnswer),
        Malformed, NoService, Gone, Broken,
    ),
)]
pub(super) async fn history(
    State(api): State<Arc<ApiState>>,
    QueryParams(names): QueryParams<NamesQuery>,
    QueryParams(range): QueryParams<EventRange>,
    QueryParams(StartsQuery { starts }): QueryParams<StartsQuery>,
) -> Result<Response, ErrorResponse> {
    let query = range.query(&names, None)?;
    // Before files are opened: a waiting client holds none.
    let permit = if starts { Some(api.starts_readers.acquire().await?) } else { None };
    let view = journal(&api, &query.names).await?;
    let (past, checks) = (view.past(), view.checks());
    drop(view);
    let body = if let Some(permit) = permit {
        let open = move || Ok(journal::Starts::with_permit(past, query, permit));
        let (first, rest) =
            journal_body::begin(&api.journal_reads, journal_body::RowFormat::List, open).await?;
        finite_body(first, rest)
    } else {
        let open = move || journal::History::new(past, checks, &query);
        let (first, rest) =
            journal_body::begin(&api.journal_reads, journal_body::RowFormat::List, open).await?;
        finite_body(first, rest)
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn body(first: Vec<u8>, rest: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    Body::from_stream(tokio_stream::once(Ok(Bytes::from(first))).chain(rest))
}

/// The body of a response that ends. A body of one chunk has a length.
fn finite_body<A>(first: Vec<u8>, rest: JournalBody<A>) -> Body
where
    A: RowCursor + Send + Unpin + 'static,
    A::Row: Serialize + 'static,
{
    if rest.is_over() { Body::from(first) } else { body(first, rest) }
}

/// The stream of new events. A client that reads too slowly gets an error as the last line.
fn live(
    view: Subscription,
    query: EventQuery,
    form: EventFormat,
) -> impl Stream<Item = String> + Send + 'static {
    let (mut last, mut over) = (view.last, false);
    let text = move |received| match received {
        _ if over => None,
        Ok(LiveMessage::Event(recorded)) => Some(matching(&recorded, &query, last).map(|event| {
            last = event.seq;
            form.event(event, &recorded.json)
        })),
        Ok(LiveMessage::Heartbeat(last)) => Some(Some(form.heartbeat(last))),
        Err(()) => {
            over = true;
            Some(Some(form.lag_message()))
        }
    };
    Live::new(view.live).map_while(text).filter_map(|text| text)
}

fn matching<'r>(recorded: &'r EventRecord, query: &EventQuery, last: u64) -> Option<&'r Event> {
    let event = &recorded.event;
    (event.seq > last && query.matches(event)).then_some(event)
}

type Received = Result<LiveMessage, RecvError>;

/// A receiver as a stream, which yields `Err` if the receiver lags, and ends with the daemon.
struct Live {
    next: Pin<Box<dyn Future<Output = (Received, Receiver<LiveMessage>)> + Send>>,
}

impl Live {
    fn new(receiver: Receiver<LiveMessage>) -> Self {
        Self { next: Box::pin(receive(receiver)) }
    }
}

async fn receive(mut receiver: Receiver<LiveMessage>) -> (Received, Receiver<LiveMessage>) {
    (receiver.recv().await, receiver)
}

impl Stream for Live {
    type Item = Result<LiveMessage, ()>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.next.as_mut().poll(context).map(|(received, receiver)| {
            self.next = Box::pin(receive(receiver));
            match received {
                Ok(word) => Some(Ok(word)),
                Err(RecvError::Lagged(_)) => Some(Err(())),
                Err(RecvError::Closed) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_form_that_is_rather_wanted() {
        let form = |accept: &'static str| {
            let accept = (header::ACCEPT, axum::http::HeaderValue::from_static(accept));
            EventFormat::from_headers(&HeaderMap::from_iter([accept]))
        };
        assert_eq!(form("*/*"), EventFormat::List);
        assert_eq!(form("text/event-stream"), EventFormat::Sse);
        assert_eq!(form("Text/Event-Stream;q=0.5, application/x-ndjson;q=0.4"), EventFormat::Sse);
        assert_eq!(form("text/event-stream;q=0.4, application/x-ndjson"), EventFormat::Lines);
        assert_eq!(form("text/event-stream;q=0, application/json"), EventFormat::List);
        assert_eq!(form("application/json, text/event-stream;q=0.1"), EventFormat::List);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_name() {
        let range =
            |since: Option<&str>| EventRange { since: since.map(str::to_owned), limit: None, by: None };
        let names = || serde_json::from_str("{}").unwrap();
        let told = |range: EventRange, seen| range.query(&names(), seen).map(drop).unwrap_err().message;
        assert_eq!(told(range(None), Some("x")), "`Last-Event-ID` is neither a number nor a time: `x`");
        assert_eq!(told(range(Some("x")), None), "`since` is neither a number nor a time: `x`");
    }

    #[test]
    fn a_pulse_of_server_sent_events_carries_the_number_and_no_event() {
        assert_eq!(EventFormat::Sse.heartbeat(7), ": nothing new\nid: 7\n\n");
    }
}
