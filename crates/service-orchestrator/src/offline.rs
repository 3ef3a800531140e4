//! What can be told from the file alone, without a daemon.

use crate::load;
use crate::orchestrator::resolve;
use crate::views;
use service_api::{Problem, Project, view};

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

/// What is wrong with the file; nothing, if nothing is.
pub fn check(project: &Project) -> Vec<Problem> {
    match load::plan(&project.config) {
        Ok(_) => Vec::new(),
        Err(mut first) => {
            let others = std::mem::take(&mut first.others);
            std::iter::once(first).chain(others).collect()
        }
    }
}
