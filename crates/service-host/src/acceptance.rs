//! [`Acceptance`]: the definitions of a `services.toml` whose commands a status query may run.
//!
//! The status of an inactive service is queried from its manager, which runs commands of the file. The file may be
//! untrusted, as in a cloned repository. A query therefore runs none of the file's commands until the user has run
//! `start`, `restart`, `apply` or `run` in the project, or `service trust`. Acceptance is recorded for each service, as
//! a hash of everything that its query runs, so a change (by `git pull`) has to be accepted again. The query of a
//! running service uses the definition of its start, which needs no acceptance.

use crate::blocking::run_on_files;
use crate::disk::{self, Disk};
use serde::{Deserialize, Serialize};
use service_api::ownership::read_regular;
use service_api::trust::{self, MAX_FILE_BYTES, sha256};
use service_api::{Code, Problem};
use service_core::Plan;
use service_core::config::{Manager, Origin, Service, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, watch};

/// The message of a service that is not queried.
pub const NOT_ASKED: &str =
    "not asked: its definition was not accepted by `service start` or `service trust`";
/// The error of a request that requires acceptance.
pub fn not_asked(cannot: &str) -> Problem {
    Problem::new(Code::UntrustedFile, format!("{cannot}: {NOT_ASKED}"))
        .help("read services.toml, and run `service trust`; or start the services you need")
}
/// The maximum number of recorded hashes. Above it, all hashes except the present content's are dropped.
const MAX_MARKS: usize = 8192;
/// The number of digits of a recorded hash.
const DIGITS: usize = 32;
/// The number of threads that read modules at the same time.
const MAX_READS: usize = 8;

/// The accepted definitions.
#[derive(Debug)]
pub struct Acceptance {
    /// The files of the record. `None` in an embedding program, which defines its services itself; then all services
    /// are accepted.
    places: Option<Places>,
    state: Mutex<AcceptedHashes>,
    /// Held while the record is written, so that the last written record has all hashes.
    writing: Mutex<()>,
    disk: Disk,
    reads: Arc<Semaphore>,
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
    /// The hash of each module when it was last read.
    modules: BTreeMap<PathBuf, String>,
    /// When the user's trust last changed.
    trust_changed: Option<std::time::SystemTime>,
    /// Whether the user trusts the present content, as last read.
    is_trusted: bool,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    marks: BTreeSet<String>,
}

impl Default for Acceptance {
    fn default() -> Self {
        Self {
            places: None,
            state: Mutex::default(),
            writing: Mutex::default(),
            disk: Disk::default(),
            reads: Arc::new(Semaphore::new(MAX_READS)),
            changes: watch::Sender::new(0),
        }
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

    /// Sets the present content of the file. Reads the modules, as every function here with `blocking` in its name.
    pub fn set_content_blocking(&self, content: &[u8], plan: &Plan) {
        self.state().content = Some((sha256(content), modules(plan)));
        self.read_modules(plan);
        self.read_trust();
        self.changes.send_modify(|loads| *loads += 1);
    }

    /// The hash of the present content, as in `service trust`.
    pub fn hash_blocking(&self) -> Option<String> {
        let (own, modules) = self.state().content.clone()?;
        trust::combined(own, &self.places.as_ref()?.file, modules.iter().map(String::as_str)).ok()
    }

    /// Whether this service may be queried while it is inactive. A module that cannot be read in time is not accepted.
    pub async fn covers(self: &Arc<Self>, service: &Arc<Service>) -> bool {
        if !reads_module(service) && self.is_recorded(service) {
            return true;
        }
        let (acceptance, service) = (Arc::clone(self), Arc::clone(service));
        run_on_files(&self.reads, move || acceptance.covers_blocking(&service)).await.unwrap_or(false)
    }

    /// Like [`covers`](Self::covers), on the current thread.
    pub fn covers_blocking(&self, service: &Service) -> bool {
        if let Some(path) = self.places.as_ref().and_then(|places| places.module(service)) {
            self.read_module(path);
        }
        self.is_recorded(service) || self.read_trust()
    }

    /// Like [`covers`](Self::covers), with the last read content of the module and the last read trust.
    pub fn covers_as_read(&self, service: &Service) -> bool {
        self.is_recorded(service) || self.state().is_trusted
    }

    /// Whether this definition is recorded as accepted, with its module as last read, or needs no acceptance.
    fn is_recorded(&self, service: &Service) -> bool {
        let Some(places) = &self.places else { return true };
        // The user has typed the definition of an added service.
        if service.origin != Origin::File || !needs_acceptance(service) {
            return true;
        }
        let state = self.state();
        let module = match places.module(service) {
            Some(path) => state.modules.get(&path).map(String::as_str),
            None => Some(""),
        };
        module.is_some_and(|module| state.accepted.contains(&mark(service, module)))
    }

    /// Whether this Nushell may run modules, which the file names.
    fn covers_nu_blocking(&self, nu: &str) -> bool {
        let is_known = || self.state().accepted.contains(&nu_mark(nu));
        self.places.is_none() || is_known() || self.read_trust()
    }

    /// Accepts all services of this plan. Returns whether the record or a module has changed.
    pub fn accept_blocking(&self, plan: &Plan) -> bool {
        let Some(places) = &self.places else { return false };
        let is_read_anew = self.read_modules(plan);
        let services = plan.ids().map(|id| plan.service(id)).filter(|service| needs_acceptance(service));
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = {
            let mut state = self.state();
            let marks: BTreeSet<String> = services
                .map(|service| {
                    let path = places.module(service);
                    mark(service, path.and_then(|path| state.modules.get(&path)).map_or("", String::as_str))
                })
                .chain(plan.settings().nu.as_deref().map(nu_mark))
                .collect();
            if marks.is_subset(&state.accepted) {
                return is_read_anew;
            }
            if state.accepted.len() + marks.len() > MAX_MARKS {
                state.accepted.clear();
            }
            state.accepted.extend(marks);
            Written { version: 1, marks: state.accepted.clone() }
        };
        let bytes = disk::append_checksum(serde_json::to_vec(&written).unwrap_or_default());
        if let Err(error) = self.disk.replace(&places.accepted, &bytes) {
            tracing::warn!(%error, "cannot save the acceptance");
        }
        self.changes.send_modify(|_| {});
        true
    }

    /// Checks whether the user's trust has changed. This is cheap enough for every request.
    pub async fn refresh_trust(self: &Arc<Self>) -> bool {
        let Some(places) = &self.places else { return false };
        let trust_changed = std::fs::symlink_metadata(&places.store).and_then(|found| found.modified()).ok();
        if std::mem::replace(&mut self.state().trust_changed, trust_changed) == trust_changed {
            return false;
        }
        let acceptance = Arc::clone(self);
        if let Err(error) = run_on_files(&self.reads, move || acceptance.read_trust()).await {
            tracing::warn!(%error, "cannot read what the user trusts");
        }
        self.changes.send_modify(|_| {});
        true
    }

    /// Waits until this service may be queried; `false` if the content changes first.
    pub async fn permits(self: &Arc<Self>, service: &Arc<Service>) -> bool {
        let mut changes = self.changes.subscribe();
        let loads = *changes.borrow_and_update();
        loop {
            if self.covers(service).await {
                return true;
            }
            if changes.changed().await.is_err() || *changes.borrow_and_update() != loads {
                return false;
            }
        }
    }

    /// Reads whether the user trusts the present content.
    fn read_trust(&self) -> bool {
        let is_trusted = |places: &Places| {
            let hash = self.hash_blocking()?;
            let uid = nix::unistd::geteuid().as_raw();
            Some(trust::is_trusted(&places.store, &places.file, &hash, uid))
        };
        let is_trusted = self.places.as_ref().and_then(is_trusted).unwrap_or(false);
        self.state().is_trusted = is_trusted;
        is_trusted
    }

    /// Reads the modules of a plan. Returns whether one has changed.
    fn read_modules(&self, plan: &Plan) -> bool {
        let Some(places) = &self.places else { return false };
        let paths: BTreeSet<PathBuf> = plan.ids().filter_map(|id| places.module(plan.service(id))).collect();
        let changed: Vec<bool> = paths.into_iter().map(|path| self.read_module(path)).collect();
        changed.contains(&true)
    }

    /// Reads a module. Returns whether it has changed.
    fn read_module(&self, path: PathBuf) -> bool {
        let read = read_regular(&path, MAX_FILE_BYTES);
        let hash = read.map_or_else(|error| error.to_string(), |text| sha256(&text));
        self.state().modules.insert(path, hash.clone()).is_none_or(|before| before != hash)
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
    /// The module of a service, if the file names one.
    fn module(&self, service: &Service) -> Option<PathBuf> {
        let Manager::Module(path) = &service.manager else { return None };
        Some(self.file.parent().unwrap_or(Path::new("/")).join(path))
    }
}

fn reads_module(service: &Service) -> bool {
    matches!(service.manager, Manager::Module(_))
}

/// The hash of everything that a query of a service runs or contacts, including its module.
fn mark(service: &Service, module: &str) -> String {
    let commands = (&service.start_command, &service.stop_command, &service.status_command);
    let around = (&service.working_dir, &service.env, &service.env_file, &service.user, &service.group);
    let asked = (&service.endpoint, &service.health.status, &service.with, &service.container);
    let whole = serde_json::to_vec(&(&*service.name, &service.manager, module, commands, around, asked));
    shortened(&sha256(&whole.unwrap_or_default()))
}

/// The configured Nushell, if it was accepted.
pub fn accepted_nu_blocking<'s>(acceptance: &Acceptance, settings: &'s Settings) -> Option<&'s str> {
    settings.nu.as_deref().filter(|nu| acceptance.covers_nu_blocking(nu))
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
            plan.ids().map(|id| acceptance.covers_blocking(plan.service(id))).collect::<Vec<_>>()
        };
        let first = plan(dir.path(), &text("one", ""));
        let acceptance = Acceptance::open(&states, &file, Disk::default());
        assert_eq!(covers(&acceptance, &first), [false, true], "a query of `b` runs no command");
        acceptance.accept_blocking(&first);
        let again = Acceptance::open(&states, &file, Disk::default());
        assert_eq!(covers(&again, &plan(dir.path(), &text("one", "other words"))), [true, true]);
        let second = plan(dir.path(), &text("two", ""));
        assert_eq!(covers(&again, &second), [false, true]);
        again.set_content_blocking(text("two", "").as_bytes(), &second);
        let row = serde_json::json!([{ "file": file, "hash": again.hash_blocking().unwrap() }]);
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
        acceptance.accept_blocking(&plan);
        assert!(acceptance.covers_blocking(plan.service(id)));
        std::fs::write(dir.path().join("m.nu"), "two").unwrap();
        assert!(acceptance.covers_as_read(plan.service(id)), "it was not read");
        assert!(!acceptance.covers_blocking(plan.service(id)));
        assert!(!acceptance.covers_as_read(plan.service(id)));
    }
}
