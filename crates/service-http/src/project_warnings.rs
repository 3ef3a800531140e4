//! Warnings about the project, which are shown with the status of its services: the file is missing or invalid, or the
//! directory was renamed.

use super::state::ApiState;
use service_api::{Problem, Project, redact};
use service_core::{Id, Plan};
use service_host::text::single_line;
use service_orchestrator::renamed_project::{self, FilePresence};

impl ApiState {
    /// Loads a changed file. Returns one sentence for each warning about the project.
    pub(super) async fn notes(&self) -> Vec<String> {
        let definition = self.refresh().await.err().map(|problem| describe(&self.project, &problem));
        let former = self.renames.running(&self.project);
        let notes = definition.into_iter().chain(former.iter().map(renamed_project::note));
        notes.map(|note| single_line(&redact(&note))).collect()
    }

    /// Refuses a start of services that still run under the former path of the project's directory.
    ///
    /// # Errors
    /// [`service_api::Code::Moved`].
    pub(super) fn refuse_second(&self, plan: &Plan, starting: &[Id]) -> Result<(), Problem> {
        let former = self.renames.running(&self.project);
        if former.is_empty() {
            return Ok(());
        }
        let fleet = self.orchestrator.fleet_snapshot();
        let is_up = |name: &str| fleet.entry(name).is_some_and(|entry| entry.snapshot.state.is_alive());
        let starting = plan.with_dependencies(starting);
        let names = starting.into_iter().map(|id| &plan.service(id).name).filter(|name| !is_up(name));
        renamed_project::refuse_second(&former, &names.collect::<Vec<_>>())
    }
}

fn describe(project: &Project, problem: &Problem) -> String {
    match FilePresence::check(&project.config, &project.state_dir) {
        FilePresence::Gone => {
            format!("`{}` is gone: running services can still be stopped", project.config.display())
        }
        FilePresence::Present | FilePresence::Unknown => {
            format!("{}; the previous definitions apply", problem.message)
        }
    }
}
