//! What whoever looks at the services should know of the project: its file is gone or wrong, its directory was renamed.

use super::Shared;
use crate::manager::on_one_line;
use crate::place::{self, Presence};
use service_api::{Code, Problem, Project, redact};
use service_core::{Id, Plan};

impl Shared {
    /// Takes up a changed file and tells, in sentences, what is the matter with the project.
    pub(crate) async fn notes(&self) -> Vec<String> {
        let definition = self.refresh().await.err().map(|problem| definition(&self.project, &problem));
        let former = self.renames.running(&self.project);
        let notes = definition.into_iter().chain(former.iter().map(place::note));
        notes.map(|note| on_one_line(&redact(&note))).collect()
    }

    /// Refuses what would start a second one of what runs under the former path of the project's directory.
    ///
    /// # Errors
    /// [`Code::Moved`].
    pub(crate) fn refuse_second(&self, plan: &Plan, starting: &[Id]) -> Result<(), Problem> {
        let former = self.renames.running(&self.project);
        if former.is_empty() {
            return Ok(());
        }
        let board = self.orchestrator.board();
        let is_up = |name: &str| board.entry(name).is_some_and(|entry| entry.snapshot.state.is_alive());
        let starting = plan.with_dependencies(starting);
        let names = starting.into_iter().map(|id| &plan.service(id).name).filter(|name| !is_up(name));
        place::refuse_second(&former, &names.collect::<Vec<_>>())
    }
}

fn definition(project: &Project, problem: &Problem) -> String {
    match Presence::of(&project.config, &project.state_dir) {
        Presence::Gone => {
            format!("`{}` is gone: what runs can still be stopped", project.config.display())
        }
        Presence::Present | Presence::Unknown => {
            format!("{}; the definitions are those of before", problem.message)
        }
    }
}

/// A file that is gone is no wrong definition: there is nothing here any more.
pub(super) fn unless_gone(project: &Project, problem: Problem) -> Problem {
    match Presence::of(&project.config, &project.state_dir) {
        Presence::Present => problem,
        Presence::Gone | Presence::Unknown => {
            let config = project.config.display();
            Problem::new(Code::NoProject, format!("`{config}` is gone, and nothing of it runs"))
                .help("`service projects --prune` removes the state of projects that are gone")
        }
    }
}
