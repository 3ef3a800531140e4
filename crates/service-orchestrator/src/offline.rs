//! What can be told from the file alone, without a daemon.

use crate::load;
use crate::orchestrator::resolve;
use crate::views;
use service_api::{Finding, Problem, Project, view};
use service_core::Id;
use service_core::config::Manager;
use service_shim::Files;

/// The services as they are defined.
pub fn list(project: &Project) -> Result<Vec<view::Service>, Problem> {
    load::plan(&project.config).map(|plan| views::services(&plan))
}

/// The order in which these services, or all, are started.
pub fn order(project: &Project, names: &[String]) -> Result<Vec<view::Step>, Problem> {
    let plan = load::plan(&project.config)?;
    let ids = resolve(&plan, names)?;
    Ok(views::steps(&plan, &ids))
}

/// These services and all that they need, or all, as far as can be told without a daemon.
pub fn graph(project: &Project, names: &[String]) -> Result<Vec<view::Node>, Problem> {
    let plan = load::plan(&project.config)?;
    let ids = resolve(&plan, names)?;
    let boot = service_shim::process::boot_id().unwrap_or_default();
    let state = |id: Id| {
        let service = plan.service(id);
        let files = Files::new(project.state_dir.join("services").join(&*service.name));
        // What a manager runs, and what a shim keeps, may be well or not: nobody has looked.
        let runs = || match files.read_record() {
            Ok(record) => record.is_some_and(|record| record.boot_id == boot && record.shim.is_alive()),
            Err(_) => true,
        };
        if service.manager != Manager::Process || runs() { "unknown" } else { "stopped" }
    };
    Ok(views::graph(&plan, &ids, state))
}

/// What is wrong with the file, and what is doubtful about it; nothing, if nothing is.
pub fn check(project: &Project) -> Vec<Finding> {
    load::check(&project.config)
}
