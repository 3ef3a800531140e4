//! [`Acceptance`]: the definitions of a `services.toml` whose commands a status query may run.
//!
//! The status of an inactive service is queried from its manager, which runs commands of the file. The file may be
//! untrusted, as in a cloned repository. A query therefore runs none of its commands until the user has run `start`,
//! `restart`, `apply` or `run` in the project, or `service trust`. Acceptance is recorded for each service, as a hash
//! of everything that its query runs, so a change (by `git pull`) has to be accepted again. The query of a running
//! service uses the definition of its start, which needs no acceptance.

use crate::disk::{self, Disk};
use serde::{Deserialize, Serialize};
use service_api::ownership::read_regular;
use service_api::trust::{self, MAX_FILE_BYTES, sha256};
use service_api::{Code, Problem};
use service_core::Plan;
use service_core::config::{Manager, Origin, Service, Settings};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The message of a service that is not queried.
pub const NOT_ASKED: &str =
    "not asked: its definition was not accepted by `service start` or `service trust`";
/// The error of a request that requires acceptance.
pub fn not_asked(cannot: &str) -> Problem {
    Problem::new(Code::UntrustedFile, format!("{cannot}: {NOT_ASKED}"))
        .help("read services.toml, and run `service trust`; or start the services you need")
}
/// The maximum number of recorded hashes. Above it, all hashes except those of the present content are dropped.
const MAX_MARKS: usize = 8192;
/// The number of digits of a recorded hash.
const DIGITS: usize = 32;

/// The accepted definitions.
#[derive(Debug)]
pub struct Acceptance {
    /// The files of the record. `None` in an embedding program, which defines its services itself; then all services
    /// are accepted.
    places: Option<Places>,
    state: Mutex<AcceptedHashes>,
    disk: Disk,
    /// The version of the content. An acceptance notifies the receivers without changing it.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Places {
    file: PathBuf,
    /// The user's trust store.
    store: PathBuf,
    /// The accepted hashes.
    accepted: PathBuf,
}

/// The hashes in memory. The lock is held only for a lookup.
#[derive(Debug, Default)]
struct AcceptedHashes {
    accepted: BTreeSet<String>,
    /// The present content: its hash, and the modules that it names.
    content: Option<(String, Vec<String>)>,
    /// When the user's trust last changed.
    trusted: Option<std::time::SystemTime>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    marks: BTreeSet<String>,
}

impl Default for Acceptance {
    fn default() -> Self {
        Self { places: None, state: Mutex::default(), disk: Disk::default(), changes: watch::Sender::new(0) }
    }
}

impl Acceptance {
    /// The acceptance of this project.
    pub fn open(state_dir: &Path, file: &Path, disk: Disk) -> Self {
        let accepted = state_dir.join("accepted.json");
        let written: Option<Written> = disk::peek(&accepted, disk::verify_checksum);
        let state = AcceptedHashes {
            accepted: written.map(|written| written.marks).unwrap_or_default(),
            ..AcceptedHashes::default()
        };
        let store = state_dir.parent().unwrap_or(Path::new("/")).join(trust::TRUSTED);
        let places = Places { file: file.to_owned(), store, accepted };
        Self { places: Some(places), state: Mutex::new(state), disk, ..Self::default() }
    }

    /// Sets the present content of the file.
    pub fn set_content(&self, content: &[u8], plan: &Plan) {
        self.state().content = Some((sha256(content), modules(plan)));
        self.changes.send_modify(|loads| *loads += 1);
    }

    /// The hash of the present content, as in `service trust`.
    pub fn hash(&self) -> Option<String> {
        let (own, modules) = self.state().content.clone()?;
        trust::combined(own, &self.places.as_ref()?.file, modules.iter().map(String::as_str)).ok()
    }

    /// Whether this service may be queried while it is inactive.
    pub fn covers(&self, service: &Service) -> bool {
        let Some(places) = &self.places else { return true };
        // The user has typed the definition of an added service.
        service.origin != Origin::File
            || !needs_acceptance(service)
            || self.has(&places.mark(service))
            || self.is_trusted()
    }

    /// Whether this Nushell may run modules, which the file names.
    pub fn covers_nu(&self, nu: &str) -> bool {
        self.places.is_none() || self.has(&nu_mark(nu)) || self.is_trusted()
    }

    /// Accepts all services of this plan. Returns whether the record changed.
    pub fn accept(&self, plan: &Plan) -> bool {
        let Some(places) = &self.places else { return false };
        let services = plan.ids().map(|id| plan.service(id)).filter(|service| needs_acceptance(service));
        let marks: BTreeSet<String> = services
            .map(|service| places.mark(service))
            .chain(plan.settings().nu.as_deref().map(nu_mark))
            .collect();
        {
            let mut state = self.state();
            if marks.is_subset(&state.accepted) {
                return false;
            }
            if state.accepted.len() + marks.len() > MAX_MARKS {
                state.accepted.clear();
            }
            state.accepted.extend(marks);
            let written = Written { version: 1, marks: state.accepted.clone() };
            let bytes = disk::append_checksum(serde_json::to_vec(&written).unwrap_or_default());
            if let Err(error) = self.disk.replace(&places.accepted, &bytes) {
                tracing::warn!(%error, "cannot save the acceptance");
            }
        }
        self.changes.send_modify(|_| {});
        true
    }

    /// Checks whether the user's trust has changed. This is cheap enough for every request.
    pub fn refresh_trust(&self) -> bool {
        let Some(places) = &self.places else { return false };
        let trusted = std::fs::symlink_metadata(&places.store).and_then(|found| found.modified()).ok();
        let changed = std::mem::replace(&mut self.state().trusted, trusted) != trusted;
        if changed {
            self.changes.send_modify(|_| {});
        }
        changed
    }

    /// Waits until this service may be queried; `false` if the content changes first.
    pub async fn permits(&self, service: &Service) -> bool {
        let mut changes = self.changes.subscribe();
        let loads = *changes.borrow_and_update();
        loop {
            if self.covers(service) {
                return true;
            }
            if changes.changed().await.is_err() || *changes.borrow_and_update() != loads {
                return false;
            }
        }
    }

    fn is_trusted(&self) -> bool {
        let (Some(places), Some(hash)) = (&self.places, self.hash()) else { return false };
        trust::is_trusted(&places.store, &places.file, &hash, nix::unistd::geteuid().as_raw())
    }

    fn has(&self, mark: &str) -> bool {
        self.state().accepted.contains(mark)
    }

    fn state(&self) -> MutexGuard<'_, AcceptedHashes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a query runs commands of the file, or contacts an address of the file.
fn needs_acceptance(service: &Service) -> bool {
    service.manager != Manager::Process || service.endpoint.is_some()
}

/// The modules that a file names, as written.
fn modules(plan: &Plan) -> Vec<String> {
    let services = plan.ids().map(|id| plan.service(id)).filter(|service| service.origin == Origin::File);
    let module = |service: &std::sync::Arc<Service>| match &service.manager {
        Manager::Module(path) => Some(path.clone()),
        Manager::BuiltIn(_) | Manager::Process => None,
    };
    services.filter_map(module).collect()
}

fn nu_mark(nu: &str) -> String {
    shortened(&sha256(format!("nu {nu}").as_bytes()))
}

fn shortened(hash: &str) -> String {
    hash.chars().take(DIGITS).collect()
}

impl Places {
    /// The hash of everything that a query of a service runs or contacts.
    fn mark(&self, service: &Service) -> String {
        let module = match &service.manager {
            Manager::Module(path) => {
                let path = self.file.parent().unwrap_or(Path::new("/")).join(path);
                read_regular(&path, MAX_FILE_BYTES)
                    .map_or_else(|error| error.to_string(), |text| sha256(&text))
            }
            Manager::BuiltIn(_) | Manager::Process => String::new(),
        };
        let commands = (&service.start_command, &service.stop_command, &service.status_command);
        let around = (&service.working_dir, &service.env, &service.env_file, &service.user, &service.group);
        let asked = (&service.endpoint, &service.health.status, &service.with, &service.container);
        let whole = serde_json::to_vec(&(&*service.name, &service.manager, module, commands, around, asked));
        shortened(&sha256(&whole.unwrap_or_default()))
    }
}

/// The configured Nushell, if it was accepted.
pub fn accepted_nu<'s>(acceptance: &Acceptance, settings: &'s Settings) -> Option<&'s str> {
    settings.nu.as_deref().filter(|nu| acceptance.covers_nu(nu))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(directory: &Path, text: &str) -> Plan {
        std::fs::write(directory.join("services.toml"), text).unwrap();
        service_config::load::plan(&directory.join("services.toml")).unwrap()
    }

    #[test]
    fn what_a_file_says_anew_is_accepted_anew_and_what_was_accepted_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let (states, file) = (dir.path().join("states/shop"), dir.path().join("services.toml"));
        std::fs::create_dir_all(&states).unwrap();
        let text = |status: &str, description: &str| {
            format!(
                "[services.a]\nstart_command = \"true\"\nmanager = \"command\"\nstop_command = \"true\"\nstatus_command = \"{status}\"\n\
                 description = \"{description}\"\n[services.b]\nstart_command = \"true\"\n"
            )
        };
        let covers = |acceptance: &Acceptance, plan: &Plan| {
            plan.ids().map(|id| acceptance.covers(plan.service(id))).collect::<Vec<_>>()
        };
        let first = plan(dir.path(), &text("one", ""));
        let acceptance = Acceptance::open(&states, &file, Disk::default());
        assert_eq!(covers(&acceptance, &first), [false, true], "a query of `b` runs no command");
        acceptance.accept(&first);
        let again = Acceptance::open(&states, &file, Disk::default());
        assert_eq!(covers(&again, &plan(dir.path(), &text("one", "other words"))), [true, true]);
        let second = plan(dir.path(), &text("two", ""));
        assert_eq!(covers(&again, &second), [false, true]);
        again.set_content(text("two", "").as_bytes(), &second);
        let row = serde_json::json!([{ "file": file, "hash": again.hash().unwrap() }]);
        std::fs::write(dir.path().join("states/trusted.nuon"), row.to_string()).unwrap();
        assert_eq!(covers(&again, &second), [true, true]);
    }

    #[test]
    fn a_module_that_has_changed_is_accepted_anew() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m.nu"), "one").unwrap();
        let plan = plan(dir.path(), "[services.a]\nmanager = \"m.nu\"\n");
        let id = plan.ids().next().unwrap();
        let acceptance = Acceptance::open(dir.path(), &dir.path().join("services.toml"), Disk::default());
        acceptance.accept(&plan);
        assert!(acceptance.covers(plan.service(id)));
        std::fs::write(dir.path().join("m.nu"), "two").unwrap();
        assert!(!acceptance.covers(plan.service(id)));
    }
}
