//! [`World`]: what every action outside needs to know, and the mailbox to report back to.

use crate::host::acceptance::Acceptance;
use crate::host::paths::Paths;
use crate::host::time_slice::LoopMetrics;
use crate::logs::Changes;
use crate::manager::Managers;
use crate::orchestrator::{Looks, Message};
use crate::probe::{Lookout, Prober};
use crate::process::template::Templates;
use service_api::{Code, Problem};
use service_core::Name;
use service_core::service::Event;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// Cheap to clone; one for each task that acts.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) paths: Arc<Paths>,
    pub(crate) prober: Arc<Prober>,
    pub(crate) templates: Arc<Templates>,
    pub(crate) managers: Arc<Managers>,
    /// For those who follow logs.
    pub(crate) changes: Arc<Changes>,
    pub(crate) lookout: Lookout,
    /// How long the owner of the fleet keeps the thread.
    pub(crate) turns: Arc<LoopMetrics>,
    /// Looks at what a start needs that are under way.
    pub(crate) looks: Arc<Looks>,
    /// What may be run in order to look.
    pub(crate) acceptance: Arc<Acceptance>,
    pub(crate) mailbox: UnboundedSender<Message>,
}

impl World {
    /// Tells the owner of the fleet what happened. When it is gone nobody needs to know.
    pub(crate) fn report(&self, name: &Name, run: u64, event: Event) {
        let _ = self.mailbox.send(Message::Happened { name: name.clone(), run, event });
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
