//! The reading routes of services: definitions, states, order, graph, health.

use super::auth::ExpensivePermit;
use super::current::{Current, CurrentOrLast, NamesQuery};
use super::list_body;
use super::reply::{Data, ErrorResponse, PathParam, QueryParams, Reply};
use super::state::ApiState;
use super::tokens::{Role, max_age};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use service_api::{Code, Problem, routes, view};
use service_core::{Id, Plan};
use service_host::procfs::ProcessTree;
use service_openapi::{
    Broken, Drawing, GraphAnswer, HealthAnswer, Malformed, NoService, Service, ServiceAnswer, ServicesAnswer,
    StatusAnswer, StepsAnswer, WhyAnswer, WhysAnswer, WrongFile, tag,
};
use service_orchestrator::explain::{self, Lines};
use service_orchestrator::graph_format;
use service_orchestrator::lookup::{not_found, resolve};
use service_orchestrator::snapshot::{FleetSnapshot, ServiceSnapshot};
use service_orchestrator::views::{self, Detail};
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;

/// The maximum age of a check result for the token `read`.
const CHECK_MAX_AGE: Duration = Duration::from_secs(1);

/// The definitions of all services
///
/// In the order of the file, followed by added services.
#[utoipa::path(
    get,
    path = routes::LIST,
    operation_id = "list_services",
    tag = tag::SERVICES,
    responses((status = 200, description = "every service", body = ServicesAnswer), WrongFile, Broken),
)]
pub(super) async fn list(Current(api): Current) -> Result<Response, ErrorResponse> {
    let plan = api.orchestrator.plan();
    let ids: Vec<Id> = plan.ids().collect();
    Ok(list_body::list(ids.into_iter().map(move |id| views::service(plan.service(id)))))
}

/// The definition of one service
///
/// The present definition, from the file or of an added service.
#[utoipa::path(
    get,
    path = routes::SERVICE,
    operation_id = "get_service",
    tag = tag::SERVICES,
    params(Service),
    responses((status = 200, description = "its definition", body = ServiceAnswer), Malformed, NoService, WrongFile, Broken),
)]
pub(super) async fn service(
    PathParam(name): PathParam<String>,
    Current(api): Current,
) -> Reply<view::Service> {
    let plan = api.orchestrator.plan();
    let id = plan.id(&name).ok_or_else(|| not_found(&plan, &name))?;
    Ok(Data(views::service(plan.service(id))))
}

/// The start order
///
/// The order of all services; with `names`, of the named services and all their dependencies. Services of one level do
/// not depend on each other.
#[utoipa::path(
    get,
    path = routes::ORDER,
    operation_id = "start_order",
    tag = tag::SERVICES,
    params(NamesQuery),
    responses((status = 200, description = "the steps, in their order", body = StepsAnswer), Malformed, NoService, WrongFile, Broken),
)]
pub(super) async fn order(
    QueryParams(names): QueryParams<NamesQuery>,
    Current(api): Current,
) -> Result<Response, ErrorResponse> {
    let plan = api.orchestrator.plan();
    let chosen = chosen(&plan, &resolve(&plan, &names.list())?);
    let step = move |at: usize| {
        let ids = chosen.as_deref().unwrap_or(plan.order());
        ids.get(at).map(|id| views::step(&plan, at + 1, *id))
    };
    Ok(list_body::list((0..).map_while(step)))
}

/// The requested services with all their dependencies, in start order; `None` for all services.
fn chosen(plan: &Plan, ids: &[Id]) -> Option<Vec<Id>> {
    (!ids.is_empty()).then(|| plan.with_dependencies(ids))
}

/// `?names=a,b&format=tree`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Drawn {
    /// Return a drawing as one text: `tree` for a terminal, `mermaid` or `dot` for documents.
    #[param(value_type = Drawing, required = false, example = "tree")]
    format: Option<String>,
}

/// The dependency graph
///
/// The services in start order, with their states. With `names`, only the named services and all their dependencies.
#[utoipa::path(
    get,
    path = routes::GRAPH,
    operation_id = "graph",
    tag = tag::SERVICES,
    params(NamesQuery, Drawn),
    responses((status = 200, description = "the nodes of the graph, or a drawing", body = GraphAnswer), Malformed, NoService, WrongFile, Broken),
)]
pub(super) async fn graph(
    QueryParams(names): QueryParams<NamesQuery>,
    QueryParams(drawn): QueryParams<Drawn>,
    Current(api): Current,
) -> Result<Response, ErrorResponse> {
    let fleet = api.orchestrator.fleet_snapshot();
    let ids = resolve(&fleet.plan, &names.list())?;
    if let Some(format) = drawn.format {
        // A drawing of thousands of services takes longer than other tasks of this thread may wait.
        let draw = move || {
            let nodes = views::graph(&fleet.plan, &ids, |id| fleet.at(id).state_word());
            graph_format::draw(&format, &nodes)
        };
        let drawn = tokio::task::spawn_blocking(draw)
            .await
            .map_err(|error| Problem::new(Code::Internal, format!("cannot draw the graph: {error}")))?;
        return Ok(Data(drawn?).into_response());
    }
    let chosen = chosen(&fleet.plan, &ids);
    let node = move |at: usize| {
        let shown = chosen.as_deref().unwrap_or(fleet.plan.order());
        let state = |id| fleet.at(id).state_word();
        shown.get(at).map(|id| views::node(&fleet.plan, shown, *id, state))
    };
    Ok(list_body::list((0..).map_while(node)))
}

/// The state of one service
///
/// The state has all fields of `long`.
#[utoipa::path(
    get,
    path = routes::SERVICE_STATUS,
    operation_id = "service_status",
    tag = tag::SERVICES,
    params(Service),
    responses((status = 200, description = "its state", body = StatusAnswer), Malformed, NoService, Broken),
)]
pub(super) async fn service_status(
    PathParam(name): PathParam<String>,
    CurrentOrLast(api): CurrentOrLast,
) -> Reply<view::Status> {
    let fleet = api.orchestrator.fleet_snapshot();
    let entry = fleet.entry(&name).ok_or_else(|| not_found(&fleet.plan, &name))?;
    let mut rows = statuses(&api, &fleet, std::slice::from_ref(entry), Detail::Long);
    Ok(Data(rows.swap_remove(0)))
}

/// The status of these services, with their present usage.
pub(super) fn statuses(
    api: &ApiState,
    fleet: &FleetSnapshot,
    entries: &[Arc<ServiceSnapshot>],
    detail: Detail,
) -> Vec<view::Status> {
    // A manager's service has no shim; its process may still be the root of a tree.
    let roots: Vec<ProcessTree> = entries.iter().filter_map(|entry| root(entry)).collect();
    let usage = api.meter.lock().map(|mut meter| meter.read(&roots)).unwrap_or_default();
    let paths = &api.orchestrator.paths();
    let project = api.project.config.display().to_string();
    entries
        .iter()
        .map(|entry| {
            let usage = root(entry).and_then(|root| usage.get(&root).copied());
            views::status(fleet, entry, usage, paths, &project, detail)
        })
        .collect()
}

fn root(entry: &ServiceSnapshot) -> Option<ProcessTree> {
    entry.shim.map(ProcessTree::Shim).or_else(|| entry.pid.map(ProcessTree::Own))
}

/// Check one service now
///
/// The service is checked by its endpoint; without one, by its process. A failed check is a regular response.
#[utoipa::path(
    get,
    path = routes::SERVICE_HEALTH,
    operation_id = "check_health",
    tag = tag::SERVICES,
    params(Service),
    responses((status = 200, description = "the result of the check", body = HealthAnswer), Malformed, NoService, Broken),
)]
pub(super) async fn health(
    role: Option<Extension<Role>>,
    PathParam(name): PathParam<String>,
    CurrentOrLast(api): CurrentOrLast,
) -> Reply<view::Health> {
    let fleet = api.orchestrator.fleet_snapshot();
    let entry = fleet.entry(&name).ok_or_else(|| not_found(&fleet.plan, &name))?;
    if let Some(health) = views::at_rest(entry) {
        return Ok(Data(health));
    }
    let checked = api.orchestrator.check(&name, max_age(role, CHECK_MAX_AGE)).await?;
    Ok(Data(views::health(&entry.definition, checked)))
}

/// Explain the state of one service
///
/// The awaited dependency, the exit status, the owner of the port, the next retry, the last log lines, and the remedy.
#[utoipa::path(
    get,
    path = routes::SERVICE_WHY,
    operation_id = "explain",
    tag = tag::SERVICES,
    params(Service),
    responses((status = 200, description = "the explanation", body = WhyAnswer), Malformed, NoService, Broken),
)]
pub(super) async fn explain_service(
    role: Option<Extension<Role>>,
    permit: Option<Extension<ExpensivePermit>>,
    PathParam(name): PathParam<String>,
    CurrentOrLast(api): CurrentOrLast,
) -> Reply<view::Why> {
    let fleet = api.orchestrator.fleet_snapshot();
    let entry = Arc::clone(fleet.entry(&name).ok_or_else(|| not_found(&fleet.plan, &name))?);
    let paths = Arc::clone(api.orchestrator.paths());
    let lines = lines_for(role);
    // An explanation reads a log and scans /proc.
    let explained = tokio::task::spawn_blocking(move || {
        let _held = permit;
        explain::explain_one(&fleet, &entry, &paths, lines)
    })
    .await;
    let explained = explained
        .map_err(|error| Problem::new(Code::Internal, format!("cannot explain `{name}`: {error}")))?;
    Ok(Data(explained))
}

/// The token `read` gets no log lines, because they may contain private data.
pub(super) fn lines_for(role: Option<Extension<Role>>) -> Lines {
    let reads = role.is_some_and(|Extension(role)| role == Role::Read);
    if reads { Lines::Hidden } else { Lines::Shown }
}

/// Explain the states of services
///
/// Without `names`, explains every service with a problem. If no service has a problem, there are no rows.
#[utoipa::path(
    get,
    path = routes::WHY,
    operation_id = "explain_all",
    tag = tag::SERVICES,
    params(NamesQuery),
    responses((status = 200, description = "the explanations", body = WhysAnswer), Malformed, NoService, Broken),
)]
pub(super) async fn explain_services(
    role: Option<Extension<Role>>,
    permit: Option<Extension<ExpensivePermit>>,
    QueryParams(names): QueryParams<NamesQuery>,
    State(api): State<Arc<ApiState>>,
) -> Result<Response, ErrorResponse> {
    let names = names.list();
    let notes = api.notes(&names).await;
    let fleet = api.orchestrator.fleet_snapshot();
    let ids = resolve(&fleet.plan, &names)?;
    let paths = Arc::clone(api.orchestrator.paths());
    let lines = lines_for(role);
    let explained = tokio::task::spawn_blocking(move || {
        let _held = permit;
        explain::explain_all(&fleet, &ids, &paths, lines)
    })
    .await;
    let explained =
        explained.map_err(|error| Problem::new(Code::Internal, format!("cannot explain that: {error}")))?;
    Ok(list_body::list_with(notes, explained.into_iter()))
}
