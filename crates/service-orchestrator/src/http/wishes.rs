//! Start, stop, restart: rows all at once, or one by one as they come when the client accepts NDJSON.

use super::reply::{Failure, Named, Sent};
use super::rows;
use crate::daemon::Shared;
use crate::orchestrator::{Relatives, Verb, Wish};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use service_api::{Code, Problem};
use std::sync::Arc;
use std::time::Duration;

type Shares = State<Arc<Shared>>;
type Answer = Result<Response, Failure>;

pub(super) async fn start(shared: Shares, headers: HeaderMap, Sent(body): Sent) -> Answer {
    many(shared, &headers, &body, Verb::Start).await
}

pub(super) async fn stop(shared: Shares, headers: HeaderMap, Sent(body): Sent) -> Answer {
    many(shared, &headers, &body, Verb::Stop).await
}

pub(super) async fn restart(shared: Shares, headers: HeaderMap, Sent(body): Sent) -> Answer {
    many(shared, &headers, &body, Verb::Restart).await
}

pub(super) async fn start_one(
    shared: Shares,
    Named(name): Named<String>,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Answer {
    one(shared, name, &headers, &body, Verb::Start).await
}

pub(super) async fn stop_one(
    shared: Shares,
    Named(name): Named<String>,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Answer {
    one(shared, name, &headers, &body, Verb::Stop).await
}

pub(super) async fn restart_one(
    shared: Shares,
    Named(name): Named<String>,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Answer {
    one(shared, name, &headers, &body, Verb::Restart).await
}

async fn many(State(shared): Shares, headers: &HeaderMap, body: &[u8], verb: Verb) -> Answer {
    let wish = read(body)?;
    match (wish.names.is_empty(), wish.all) {
        (true, false) => Err(bad("no services are named").help("fill `names`, or set `all` to true").into()),
        (false, true) => Err(bad("both `names` and `all` are given").help("leave one of the two out").into()),
        _ => answer(&shared, headers, verb, wish).await,
    }
}

async fn one(State(shared): Shares, name: String, headers: &HeaderMap, body: &[u8], verb: Verb) -> Answer {
    let wish = read(body)?;
    if wish.all || !wish.names.is_empty() {
        return Err(bad("the service is named in the path already")
            .help("leave `names` and `all` out")
            .into());
    }
    answer(&shared, headers, verb, service_api::Wish { names: vec![name], ..wish }).await
}

pub(super) fn read(body: &[u8]) -> Result<service_api::Wish, Problem> {
    if body.is_empty() {
        return Ok(service_api::Wish::default());
    }
    serde_json::from_slice(body).map_err(|error| bad(&format!("the body is not a wish: {error}")))
}

pub(super) fn bad(message: &str) -> Problem {
    Problem::new(Code::BadRequest, message)
}

async fn answer(shared: &Shared, headers: &HeaderMap, verb: Verb, asked: service_api::Wish) -> Answer {
    match verb {
        Verb::Start | Verb::Restart | Verb::Update => shared.refresh().await?,
        // What cannot be read must not keep anybody from stopping what runs.
        Verb::Stop => shared.refresh().await.unwrap_or_default(),
    }
    let wish = Wish {
        verb,
        names: asked.names,
        all: asked.all,
        relatives: asked.relatives.map(|along| if along { Relatives::Along } else { Relatives::Apart }),
        patience: patience(asked.wait, asked.timeout_ms),
    };
    let rows = shared.orchestrator.wish(wish).await?;
    Ok(rows::outcomes(headers, rows).await)
}

pub(super) fn patience(wait: bool, timeout_ms: Option<u64>) -> crate::orchestrator::Patience {
    use crate::orchestrator::Patience;
    match (wait, timeout_ms) {
        (false, _) => Patience::None,
        (true, Some(millis)) => Patience::For(Duration::from_millis(millis)),
        (true, None) => Patience::Endless,
    }
}
