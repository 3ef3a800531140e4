//! The record of a service's last run, from its shim or from the disk.

use super::run_trace::RecoveryError;
use service_core::{Moment, Name};
use service_host::clock;
use service_host::paths::Paths;
use service_process::{self as process, Reached};
use service_shim::{Files, RunRecord};
use std::io::{self, ErrorKind};
use std::time::Duration;

/// The time limit for the first report of a new shim.
const FIRST_REPORT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for reading a record of a service without a shim.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The polling interval for a first report or a readable record.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The record of a service's last run.
pub(super) struct RecordedRun {
    pub(super) record: RunRecord,
    /// Whether a process holds the lock of the run.
    pub(super) is_kept: bool,
    /// The connection to the shim, if the shim answered and a descriptor was free.
    pub(super) reached: Option<Reached>,
}

/// The record of the last run; `None` if there was none. If a shim holds the lock, the shim itself is queried. If the
/// shim has only just started, this waits for its first report, because a second shim must not be started. If the shim
/// is frozen and does not answer, its record file counts.
pub(super) async fn last_record(
    paths: &Paths,
    name: &Name,
    began: Moment,
) -> Result<Option<RecordedRun>, RecoveryError> {
    let files = &paths.files(name);
    let deadline = clock::now().plus(FIRST_REPORT_TIMEOUT);
    loop {
        match files.try_lock() {
            Ok(Some(_lock)) => return unlocked(paths, name, began),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && is_gone(files) => {
                return unlocked(paths, name, began);
            }
            Err(error) => return Err(RecoveryError::Lock { lock: files.lock(), error }),
        }
        match process::query_record(files).await {
            Ok((record, talk)) => {
                return Ok(Some(RecordedRun {
                    record,
                    is_kept: true,
                    reached: Reached::from_connection(talk),
                }));
            }
            Err(error) if clock::now() >= deadline => {
                // The socket may have been removed. The record file counts if the process in it is alive.
                let record = files.read_record().ok().flatten().filter(|record| record.shim.is_alive());
                if let Some(record) = record {
                    return Ok(Some(RecordedRun { record, is_kept: true, reached: None }));
                }
                // The shim may have ended meanwhile; then the lock is free.
                if clock::now() >= deadline.plus(FIRST_REPORT_TIMEOUT) {
                    return Err(RecoveryError::ShimSilent { lock: files.lock(), error });
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// Reads the record of a service whose lock is free: no shim supervises it, unless the lock file was deleted. A damaged
/// record is ignored, and an unreadable one is retried until the deadline.
fn unlocked(paths: &Paths, name: &Name, began: Moment) -> Result<Option<RecordedRun>, RecoveryError> {
    let files = &paths.files(name);
    let is_lost = |error: &io::Error| {
        matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::IsADirectory)
            || clock::now() >= began.plus(READ_TIMEOUT)
    };
    let record = files.read_record();
    let is_kept = match &record {
        Ok(Some(record)) if !record.is_end() => {
            process::shims_without_files::holds_lock(record.shim, paths, name).map_err(RecoveryError::Shim)?
        }
        _ => false,
    };
    if !is_kept {
        // No process listens on the socket. A shim that ended while the disk was read-only could not remove it.
        let _ = std::fs::remove_file(files.socket());
    }
    match record {
        Ok(record) => Ok(record.map(|record| RecordedRun { record, is_kept, reached: None })),
        Err(error) if is_lost(&error) => {
            tracing::warn!(path = %files.record().display(), %error, "cannot read the exit status of its last run");
            Ok(None)
        }
        Err(error) => Err(RecoveryError::Record { record: files.record(), error }),
    }
}

/// Whether there is no run directory. The lock is free then, and the record may be in the state directory.
fn is_gone(files: &Files) -> bool {
    files.run_directory().try_exists().is_ok_and(|there| !there)
}
