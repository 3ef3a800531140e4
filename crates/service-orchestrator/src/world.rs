//! [`World`]: what every action outside needs to know, and the mailbox to report back to.

use crate::acceptance::Acceptance;
use crate::disk::Disk;
use crate::logs::Changes;
use crate::manager::Managers;
use crate::orchestrator::{Looks, Message};
use crate::probe::{Lookout, Prober};
use crate::process::template::Templates;
use crate::tally::Turns;
use service_api::project::fnv1a;
use service_api::{Code, Problem};
use service_core::Name;
use service_core::service::Event;
use service_shim::Files;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// Cheap to clone; one for each task that acts.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) places: Arc<Places>,
    pub(crate) prober: Arc<Prober>,
    pub(crate) templates: Arc<Templates>,
    pub(crate) managers: Arc<Managers>,
    /// For those who follow logs.
    pub(crate) changes: Arc<Changes>,
    pub(crate) lookout: Lookout,
    /// How long the owner of the fleet keeps the thread.
    pub(crate) turns: Arc<Turns>,
    /// Looks at what a start needs that are under way.
    pub(crate) looks: Arc<Looks>,
    /// What may be run in order to look.
    pub(crate) acceptance: Arc<Acceptance>,
    pub(crate) mailbox: UnboundedSender<Message>,
}

/// Where things are.
#[derive(Debug)]
pub(crate) struct Places {
    /// Goals, logs, exit statuses.
    pub(crate) state_dir: PathBuf,
    /// The file for goals while the state directory cannot be written.
    pub(crate) refuge: Option<PathBuf>,
    /// The file of the project; where there is none, what relative paths are relative to.
    pub(crate) project: PathBuf,
    /// What relative paths in definitions are relative to.
    pub(crate) base_dir: PathBuf,
    /// The Nushell that started us, if one did.
    pub(crate) nu: Option<PathBuf>,
    /// The kernel's id of this boot.
    pub(crate) boot_id: String,
    /// Brings the files to the disk.
    pub(crate) disk: Disk,
}

impl World {
    /// Tells the owner of the fleet what happened. When it is gone nobody needs to know.
    pub(crate) fn report(&self, name: &Name, run: u64, event: Event) {
        let _ = self.mailbox.send(Message::Happened { name: name.clone(), run, event });
    }
}

impl Places {
    /// The directory of one service.
    pub(crate) fn files(&self, name: &Name) -> Files {
        Files::new(self.services().join(&**name))
    }

    /// The directory of all services.
    pub(crate) fn services(&self) -> PathBuf {
        self.state_dir.join("services")
    }

    /// Tells what is ours where others have things of the same names.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:016x}", fnv1a(self.state_dir.as_os_str().as_encoded_bytes()))
    }

    /// Where a service runs.
    pub(crate) fn working_dir(&self, written: Option<&str>) -> PathBuf {
        written.map_or_else(|| self.base_dir.clone(), |written| self.base_dir.join(written))
    }
}

/// The program `service-shim`: the one that `$SERVICE_SHIM` names; without it the one beside this program, one directory up
/// (tests and examples of cargo), or on `PATH`.
pub(crate) fn find_shim() -> Result<PathBuf, Problem> {
    const NAME: &str = "service-shim";
    if let Some(named) = std::env::var_os("SERVICE_SHIM").map(PathBuf::from) {
        return if is_program(&named) {
            Ok(named)
        } else {
            let message = format!("cannot run `{}`, which $SERVICE_SHIM names", named.display());
            Err(Problem::new(Code::Internal, message).help("correct $SERVICE_SHIM, or unset it"))
        };
    }
    let exe = std::env::current_exe().unwrap_or_default();
    let beside = exe.ancestors().skip(1).take(2).map(|dir| dir.join(NAME));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).map(|dir| dir.join(NAME)).collect();
    beside.chain(on_path).find(|path| is_program(path)).ok_or_else(|| {
        Problem::new(Code::Internal, format!("cannot find the program `{NAME}`"))
            .help("install it beside orchestratord, or name it in $SERVICE_SHIM")
    })
}

fn is_program(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}
