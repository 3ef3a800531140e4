//! What can be told from the file alone, without a daemon.

use crate::load;
use crate::orchestrator::resolve;
use crate::views;
use service_api::{Finding, Problem, Project, view};

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

/// What is wrong with the file, and what is doubtful about it; nothing, if nothing is.
pub fn check(project: &Project) -> Vec<Finding> {
    load::check(&project.config)
}
