//! [`Builder`]: the directories and the initial definitions of an orchestrator.

use crate::check_support::check_support;
use crate::engine::drivers::Drivers;
use crate::engine::inbox::Inbox;
use crate::engine::start::run;
use crate::handle::ServiceOrchestrator;
use service_api::{Code, Problem};
use service_core::Plan;
use service_core::config::Config;
use service_host::acceptance::Acceptance;
use service_host::disk::Disk;
use service_host::fs::{make_temporary_dir, private_dir};
use service_host::paths::Paths;
use service_host::report::ReportSender;
use service_host::run_directory;
use service_manager::{self as manager, Managers};
use service_probe::Prober;
use service_process::Shims;
use service_process::shim_program::find_shim;
use service_store::RunDefinitions;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The directories and the initial definitions of an orchestrator.
#[derive(Debug, Default)]
pub struct Builder {
    state_dir: Option<PathBuf>,
    fallback_state_file: Option<PathBuf>,
    memory_directories: Vec<PathBuf>,
    disk: Disk,
    descriptors: Option<u64>,
    project: Option<PathBuf>,
    base_dir: Option<PathBuf>,
    shim: Option<PathBuf>,
    nu: Option<PathBuf>,
    acceptance: Arc<Acceptance>,
    config: Config,
}

impl Builder {
    /// The state directory, which only this user may read. Default: a new temporary directory.
    #[must_use]
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// The fallback for the state while the state directory cannot be written. Default: none.
    #[must_use]
    pub fn fallback_state_file(mut self, file: PathBuf) -> Self {
        self.fallback_state_file = Some(file);
        self
    }

    /// The [`Disk`] that syncs the files. Default: a new one.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// Directories in memory for locks, records and sockets of runs, the best one first. Default: none; these files lie in
    /// the state directory.
    #[must_use]
    pub fn memory_directories(mut self, directories: Vec<PathBuf>) -> Self {
        self.memory_directories = directories;
        self
    }

    /// The descriptor limit of services. Default: the limit of this process.
    #[must_use]
    pub fn descriptors(mut self, descriptors: Option<u64>) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// The accepted definitions. Default: all definitions.
    #[must_use]
    pub fn acceptance(mut self, acceptance: Arc<Acceptance>) -> Self {
        self.acceptance = acceptance;
        self
    }

    /// The file of the project, by which managers identify its services. Default: the base directory.
    #[must_use]
    pub fn project(mut self, file: &std::path::Path) -> Self {
        self.project = Some(file.to_owned());
        self
    }

    /// The base directory of relative paths in definitions. Default: the current directory.
    #[must_use]
    pub fn base_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.base_dir = Some(dir.into());
        self
    }

    /// The program `service-shim`. Default: `$SERVICE_SHIM`, else beside this program, else on `PATH`.
    #[must_use]
    pub fn shim(mut self, program: impl Into<PathBuf>) -> Self {
        self.shim = Some(program.into());
        self
    }

    /// The Nushell that runs manager modules. Default: `nu` on `PATH`.
    #[must_use]
    pub fn nu(mut self, program: Option<PathBuf>) -> Self {
        self.nu = program;
        self
    }

    /// The initial settings and services. Default: default settings, and no services.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Recovers the state directory and starts.
    ///
    /// # Errors
    /// [`Code::BadDefinition`] if the services cannot be ordered, or if one has an HTTP check and the feature `http` is
    /// off; [`Code::Storage`] if the state directory cannot be
    /// used, [`Code::Internal`] if the shim is not found.
    pub async fn start(self) -> Result<ServiceOrchestrator, Problem> {
        let plan = Plan::compile(self.config).map_err(|errors| {
            let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Problem::new(Code::BadDefinition, messages.join("; "))
        })?;
        let mut builder = Self { config: Config::default(), ..self };
        builder.start_plan(plan).await
    }

    /// Like [`Builder::start`], with a plan instead of a configuration.
    ///
    /// # Errors
    /// The errors of [`Builder::start`].
    pub async fn start_plan(&mut self, plan: Plan) -> Result<ServiceOrchestrator, Problem> {
        check_support(plan.ids().map(|id| &**plan.service(id)))?;
        let state_dir = self.state_dir.take().map_or_else(make_temporary_dir, Ok).map_err(|error| {
            Problem::from_io(&error, format!("cannot create a temporary state directory: {error}"))
                .or_help("set TMPDIR to a directory that can be written")
        })?;
        let cannot = |what: &str, error: std::io::Error| {
            Problem::from_io(&error, format!("cannot {what} `{}`: {error}", state_dir.display()))
                .or_help("make the directory writable, or use another one")
        };
        private_dir(&state_dir).map_err(|error| cannot("use the state directory", error))?;
        let shim = self.shim.take().map_or_else(find_shim, Ok)?;
        let base_dir = self.base_dir.take().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        let paths = Paths {
            project: self.project.take().unwrap_or_else(|| base_dir.clone()),
            base_dir,
            nu: self.nu.take(),
            boot_id: service_shim::process::boot_id()
                .map_err(|error| cannot("identify the boot for", error))?,
            fallback_state_file: self.fallback_state_file.take(),
            memory_directories: std::mem::take(&mut self.memory_directories),
            disk: self.disk.clone(),
            state_dir: state_dir.clone(),
        };
        private_dir(&paths.services()).map_err(|error| cannot("use the state directory", error))?;
        run_directory::establish(&paths)
            .and_then(|()| run_directory::link_former_runs(&paths))
            .map_err(|error| cannot("use the run directory of", error))?;
        let definitions = RunDefinitions::open(&state_dir, self.disk.clone())
            .map_err(|error| cannot("read the definitions of the last runs in", error))?;
        if let Err(error) = definitions.create() {
            tracing::warn!(%error, "cannot create the file of the definitions of runs");
        }
        if let Err(error) = manager::install(&paths) {
            // The start of a service with a manager will report the error. Other services are not affected.
            tracing::error!(%error, "cannot write the managers");
        }
        let (reports, incoming) = ReportSender::channel();
        let (commands, requests) = mpsc::unbounded_channel();
        let (paths, acceptance) = (Arc::new(paths), Arc::clone(&self.acceptance));
        let (loop_metrics, client_checks) = Default::default();
        let drivers = Drivers {
            shims: Shims::new(Arc::clone(&paths), shim, self.descriptors, reports.clone()),
            prober: Prober::new(Arc::clone(&paths)),
            managers: Managers::new(Arc::clone(&paths), Arc::clone(&acceptance), reports.clone()),
            paths,
            acceptance,
            loop_metrics,
            client_checks,
            reports,
            definitions: Arc::new(definitions),
        };
        let inbox = Inbox::new(incoming, requests);
        let fleet = run(drivers.clone(), plan, inbox, commands.clone()).await.map_err(|error| {
            Problem::from_io(&error, format!("cannot read the state in `{}`: {error}", state_dir.display()))
        })?;
        Ok(ServiceOrchestrator { drivers, commands, checks_in_flight: Arc::default(), fleet })
    }
}

impl ServiceOrchestrator {
    /// An orchestrator without services, with default settings. Use [`ServiceOrchestrator::builder`] for other
    /// settings.
    ///
    /// # Errors
    /// The errors of [`Builder::start`].
    pub async fn new() -> Result<Self, Problem> {
        Self::builder().start().await
    }

    /// A builder, to set directories, settings and services.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_state_directory_that_cannot_be_trusted_is_a_matter_of_storage_with_a_next_step() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let started = ServiceOrchestrator::builder().state_dir(directory.path().join("state")).start().await;
        let problem = started.err().unwrap();
        assert_eq!(problem.code, Code::Storage, "{problem}");
        assert!(problem.help.unwrap().starts_with("run `chmod go-w"));
    }
}
