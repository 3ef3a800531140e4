//! `orchestratord check`: finds the errors and warnings of a file, and obstacles to a start on this machine.

use service_api::{Finding, Project, Severity};
use service_config::load::{self, Obstacle};
use service_core::Name;
use service_core::config::Manager;
use service_host::acceptance::Acceptance;
use service_host::disk::Disk;
use service_host::paths::Paths;
use service_host::report::ReportSender;
use service_manager::{Fitness, ManagerError, Managers};
use service_process::{StartObstacle, blockers, unusable_commands};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The errors and warnings of the file. `nu` runs the modules, if they are accepted.
pub(crate) fn check(project: &Project, nu: Option<PathBuf>) -> Vec<Finding> {
    let unfit = unfit_modules(project, nu);
    let paths = paths(project, None);
    load::check(&project.config, |service| {
        let mut found: Vec<Obstacle> =
            blockers(&paths, service).into_iter().map(|blocker| to_obstacle(true, blocker)).collect();
        let unusable = unusable_commands(&paths, service).into_iter();
        found.extend(unusable.map(|unusable| to_obstacle(unusable.fails_start(), unusable)));
        found.extend(unfit.get(&service.name).map(|why| Obstacle {
            key: &["manager"],
            why: why.clone(),
            help: "fix the module; docs/managers.md describes its commands".to_owned(),
            severity: Severity::Error,
            may_be_made: false,
        }));
        found
    })
}

/// Converts an obstacle. A missing file is only a warning, because the check may run on another machine than the
/// services.
fn to_obstacle(fails_start: bool, blocker: StartObstacle) -> Obstacle {
    let StartObstacle { key, why, help, may_be_made, is_missing } = blocker;
    let severity = if fails_start && !is_missing { Severity::Error } else { Severity::Warning };
    Obstacle { key, why, help, severity, may_be_made }
}

fn paths(project: &Project, nu: Option<PathBuf>) -> Paths {
    Paths {
        project: project.config.clone(),
        base_dir: project.config.parent().unwrap_or(Path::new("/")).to_path_buf(),
        nu,
        ..Paths::new(&project.state_dir)
    }
}

/// The services whose module cannot run them. Only accepted modules are run for this check.
fn unfit_modules(project: &Project, nu: Option<PathBuf>) -> BTreeMap<Name, String> {
    let mut found = BTreeMap::new();
    let acceptance = Arc::new(Acceptance::open(&project.state_dir, &project.config, Disk::default()));
    let Ok(plan) = load::plan_for(&acceptance, &project.config, &[]) else { return found };
    let paths = Arc::new(paths(project, nu));
    let services = plan.ids().map(|id| Arc::clone(plan.service(id)));
    let managed: Vec<_> = services.filter(|service| matches!(service.manager, Manager::Module(_))).collect();
    if managed.is_empty() {
        return found;
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return found;
    };
    let (reports, _keep) = ReportSender::channel();
    let managers = Managers::new(paths, Arc::clone(&acceptance), reports);
    let mut fitness = Fitness::default();
    for service in managed {
        let checked = if acceptance.covers_blocking(&service) {
            runtime.block_on(fitness.check(&managers, plan.settings(), &service))
        } else {
            managers.find_module(&service).map_err(ManagerError::from)
        };
        if let Err(error) = checked {
            found.insert(service.name.clone(), error.to_string());
        }
    }
    found
}
