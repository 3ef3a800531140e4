//! The launch message of a shim: command, directory, environment, user.

use super::{limits, orphans};
use service_api::{Code, Problem};
use service_core::config::Service;
use service_core::explain::STATE_NOT_WRITTEN;
use service_host::credentials::{IdentityError, resolve_identity};
use service_host::environment::{EnvironmentError, RUN_ID_VARIABLE, inherited_environment, read_environment};
use service_host::paths::Paths;
use service_host::run_directory;
use service_shim::{DroppedLines, Launch, LogLimits, PROTOCOL_VERSION};
use std::io;
use std::path::PathBuf;
use thiserror::Error;
use tokio::task::JoinError;

/// Why the launch of a run cannot be composed. Continues "cannot start `web`: ".
#[derive(Debug, Error)]
pub(super) enum ComposeError {
    #[error("{STATE_NOT_WRITTEN} `{}` cannot be written: {error}", directory.display())]
    Storage { directory: PathBuf, error: io::Error },
    #[error("its run directory `{}` cannot be used: {error}", directory.display())]
    Directory { directory: PathBuf, error: io::Error },
    #[error("its launch cannot be prepared: {0}")]
    Interrupted(#[from] JoinError),
    /// What the launch waits for, as a clause.
    #[error("{waits} within {seconds} s")]
    Timeout { waits: &'static str, seconds: u64 },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}

/// All parameters of a run.
pub(super) fn compose(paths: &Paths, service: &Service, run: u64) -> Result<Launch, ComposeError> {
    let files = paths.files(&service.name);
    run_directory::create(paths, &files).map_err(|error| {
        let directory = files.run_directory().to_path_buf();
        match Problem::from_io(&error, "").code {
            Code::Storage => ComposeError::Storage { directory, error },
            _ => ComposeError::Directory { directory, error },
        }
    })?;
    let identity = resolve_identity(service)?;
    let inherited = inherited_environment(service, identity.as_ref());
    let env_clear = inherited.is_some();
    let mut env = inherited.unwrap_or_default();
    env.extend(read_environment(&paths.base_dir, service)?);
    // The mark comes last, so that no definition can set the mark of another run.
    env.push((RUN_ID_VARIABLE.to_owned(), orphans::mark(paths, &service.name, run)));
    Ok(Launch {
        version: PROTOCOL_VERSION,
        service: service.name.to_string(),
        run,
        directory: files.directory().to_path_buf(),
        run_directory: files.run_directory().to_path_buf(),
        argv: service.start_command.argv.clone(),
        working_dir: paths.working_dir(service.working_dir.as_deref()),
        env,
        identity,
        log: log_limits(service),
        notify: service.ready.notify,
        ready_log: service.ready.log.clone().filter(|_| !service.oneshot),
        env_clear,
        no_new_privileges: service.has_no_new_privileges(),
        dropped_lines: DroppedLines::default(),
        limits: limits::prepare(paths, &service.name, &service.limits, run),
    })
}

/// The limits of a service's log.
pub(super) fn log_limits(service: &Service) -> LogLimits {
    LogLimits { max_size: service.log.max_size, max_files: service.log.max_files }
}
