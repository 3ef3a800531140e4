//! What can be told from the file alone, without a daemon.

use crate::journal::{Question, Since, offline as journal};
use crate::load;
use crate::orchestrator::resolve;
use crate::views;
use service_api::event::{Past, Start};
use service_api::{Event, Problem, Project, view};

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

/// What is asked of the journal.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// About these services; about all, and the daemon, if there are none.
    pub names: Vec<String>,
    /// Since this number, or this time.
    pub since: Option<String>,
    /// At most so many events: the first with `since`, else the last.
    pub limit: Option<usize>,
}

impl Asked {
    fn question(&self, project: &Project) -> Result<Question, Problem> {
        if let Some(names) = (!self.names.is_empty()).then_some(&self.names) {
            let known = journal::events(&project.state_dir, &Question::default())?;
            let has_past = |name: &String| known.iter().any(|event| event.service.as_ref() == Some(name));
            if !names.iter().all(has_past) {
                resolve(&load::plan(&project.config)?, names)?;
            }
        }
        let since = self.since.as_deref().map(str::parse::<Since>).transpose()?;
        Ok(Question { names: self.names.clone(), since, limit: self.limit })
    }
}

/// What happened, by number.
pub fn events(project: &Project, asked: &Asked) -> Result<Vec<Event>, Problem> {
    journal::events(&project.state_dir, &asked.question(project)?)
}

/// What happened to services, and what their checks said.
pub fn history(project: &Project, asked: &Asked) -> Result<Vec<Past>, Problem> {
    journal::history(&project.state_dir, &asked.question(project)?)
}

/// The critical path of starts.
pub fn starts(project: &Project, asked: &Asked) -> Result<Vec<Start>, Problem> {
    journal::starts(&project.state_dir, &asked.question(project)?)
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
