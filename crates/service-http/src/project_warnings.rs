//! Warnings about the project, which are shown with the status of its services: the file is missing or invalid, or the
//! directory was renamed.

use super::state::{ApiState, Outdated};
use service_api::{Problem, Project, redact};
use service_core::{Id, Plan};
use service_host::text::single_line;
use service_orchestrator::renamed_project::{self, FilePresence};
use std::sync::Arc;

impl ApiState {
    /// Loads a changed file, for a request that reads these services. Returns one sentence for each warning about the
    /// project.
    pub(super) async fn notes(self: &Arc<Self>, names: &[String]) -> Vec<String> {
        let outdated = self.refresh_for_reader(names).await.err();
        let api = Arc::clone(self);
        let look = move || {
            let definition = outdated.map(|outdated| describe(&api.project, &outdated));
            (definition, api.renames.running(&api.project))
        };
        let looked = self.definitions.run_on_files(look).await;
        let (definition, former) = looked.unwrap_or_else(|error| (Some(error.to_string()), Vec::new()));
        let notes = definition.into_iter().chain(former.iter().map(renamed_project::note));
        notes.map(|note| single_line(&redact(&note))).collect()
    }

    /// Refuses a start of services that still run under the former path of the project's directory.
    ///
    /// # Errors
    /// [`service_api::Code::Moved`].
    pub(super) async fn refuse_second(self: &Arc<Self>, plan: &Plan, starting: &[Id]) -> Result<(), Problem> {
        let api = Arc::clone(self);
        let former = self.definitions.run_on_files(move || api.renames.running(&api.project)).await;
        let former = former.unwrap_or_default();
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

fn describe(project: &Project, outdated: &Outdated) -> String {
    let Outdated::Invalid(problem) = outdated else {
        return format!(
            "`{}` has changed and is being loaded; the previous definitions apply",
            project.config.display()
        );
    };
    match FilePresence::check(&project.config, &project.state_dir) {
        FilePresence::Gone => {
            format!("`{}` is gone: running services can still be stopped", project.config.display())
        }
        FilePresence::Present | FilePresence::Unknown => {
            format!("{}; the previous definitions apply", problem.message)
        }
    }
}
