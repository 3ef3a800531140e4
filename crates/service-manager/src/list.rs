//! The list of managers: built-in managers and managers that services name by path, each with its commands.

use super::author::Author;
use super::call::Call;
use super::client::Managers;
use super::embedded::module_path;
use super::module::Module;
use super::reply::{ManagerReply, RecordReader, ReplyError, text};
use serde_json::Value;
use service_api::view;
use service_core::Plan;
use service_core::config::{Manager, Settings};
use service_host::acceptance::NOT_ASKED;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The reply of `check`.
struct Availability {
    present: bool,
    program: Option<String>,
    version: Option<String>,
    message: Option<String>,
}

impl ManagerReply for Availability {
    fn read(answer: Value, author: Author) -> Result<Self, ReplyError> {
        let row = RecordReader::read(&answer)?;
        Ok(Self {
            present: row.required_field("present", "true or false", Value::as_bool)?,
            program: row.optional_field("program", "a string", text)?,
            version: row.optional_field("version", "a string", text)?,
            message: row.optional_field("message", "a string", text)?.map(|message| author.mark(message)),
        })
    }
}

/// All managers, built-in managers first. Listing them runs programs. Concurrent requests, and requests within `kept`
/// afterwards, share one result.
pub async fn list(managers: &Managers, plan: &Arc<Plan>, kept: Duration) -> Vec<view::Manager> {
    managers.lists.share("", plan, kept, || find(managers, plan)).await
}

async fn find(managers: &Managers, plan: &Plan) -> Vec<view::Manager> {
    let mut all: Vec<Manager> =
        Manager::BUILT_IN.iter().map(|name| Manager::BuiltIn((*name).to_owned())).collect();
    let used: Vec<&Manager> = plan.ids().map(|id| &plan.service(id).manager).collect();
    for manager in &used {
        if matches!(manager, Manager::Module(_)) && !all.contains(manager) {
            all.push((*manager).clone());
        }
    }
    let mut asked = JoinSet::new();
    for (place, manager) in all.into_iter().enumerate() {
        let services = used.iter().filter(|used| ***used == manager).count();
        if !is_accepted(managers, plan, &manager).await {
            let row =
                view::Manager { message: Some(NOT_ASKED.to_owned()), ..blank(managers, &manager, services) };
            asked.spawn(async move { (place, row) });
            continue;
        }
        let (managers, settings) = (managers.clone(), plan.settings().clone());
        asked.spawn(async move { (place, row(&managers, &settings, &manager, services).await) });
    }
    let mut rows = asked.join_all().await;
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Whether the module may be run for a query.
async fn is_accepted(managers: &Managers, plan: &Plan, manager: &Manager) -> bool {
    if !matches!(manager, Manager::Module(_)) {
        return true;
    }
    for service in plan.ids().map(|id| plan.service(id)).filter(|service| service.manager == *manager) {
        if managers.caller.acceptance.covers(service).await {
            return true;
        }
    }
    false
}

async fn row(managers: &Managers, settings: &Settings, manager: &Manager, services: usize) -> view::Manager {
    let path = module_path(managers.paths(), manager).unwrap_or_default();
    let mut row = blank(managers, manager, services);
    match managers.modules.load(&managers.caller, settings, &path).await {
        Ok(module) => describe(managers, settings, &module, &mut row).await,
        Err(error) => row.message = Some(error.to_string()),
    }
    row
}

/// The row of a manager before its module is inspected.
fn blank(managers: &Managers, manager: &Manager, services: usize) -> view::Manager {
    let path = module_path(managers.paths(), manager).unwrap_or_default();
    view::Manager {
        name: manager.name().to_owned(),
        module: path.display().to_string(),
        contract: None,
        commands: Vec::new(),
        present: None,
        program: None,
        version: None,
        services,
        message: None,
    }
}

async fn describe(managers: &Managers, settings: &Settings, module: &Module, row: &mut view::Manager) {
    row.contract = Some(module.contract);
    row.commands = module.commands.iter().cloned().collect();
    let missing = module.complete().err().map(|error| error.to_string());
    if missing.is_some() || !module.has_command("check") {
        row.message = missing;
        return;
    }
    let check = Call { module: &module.path, command: "check", input: b"null" };
    match check.make::<Availability>(&managers.caller, settings).await {
        Ok(check) => {
            (row.present, row.program) = (Some(check.present), check.program);
            (row.version, row.message) = (check.version, check.message);
        }
        Err(error) => row.message = Some(error.to_string()),
    }
}
