//! [`Modules`]: the commands of each module, inspected once for each version of its file.

use super::call::{CallContext, inspect};
use super::error::{ManagerError, ModuleError};
use serde::Deserialize;
use service_api::trust::MAX_FILE_BYTES;
use service_core::config::Settings;
use service_core::suggest::nearest;
use service_host::blocking::run_on_files;
use service_host::fs::FileStamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The version of the contract in docs/managers.md.
const CONTRACT_VERSION: i64 = 1;

/// The script that returns the exports and the contract version of a module.
const INSPECT_SCRIPT: &str = "{commands: (scope commands | where type == custom | get name) \
                    contract: (scope variables | where name == '$CONTRACT' | get value.0?) \
                    with: (scope variables | where name == '$WITH' | get value.0?)}";

/// The commands and keys of a module.
#[derive(Debug, Clone)]
pub(super) struct Module {
    pub(super) path: PathBuf,
    pub(super) contract: i64,
    pub(super) commands: BTreeSet<String>,
    /// The keys of `with` that the module reads; `None` for any key.
    with: Option<Vec<String>>,
}

impl Module {
    /// Whether the module has this command.
    pub(super) fn has_command(&self, command: &str) -> bool {
        self.commands.contains(command)
    }

    /// Checks that the module has the required commands.
    pub(super) fn complete(&self) -> Result<(), ModuleError> {
        ["start", "stop", "status"].iter().try_for_each(|word| self.require_command(word))
    }

    /// Checks that the module reads every key of a service's `with`.
    pub(super) fn check_with_keys(&self, with: &serde_json::Value) -> Result<(), ModuleError> {
        let (Some(known), Some(with)) = (&self.with, with.as_object()) else { return Ok(()) };
        let Some(key) = with.keys().find(|key| !known.contains(*key)) else { return Ok(()) };
        let help = match nearest(key, known.iter().map(String::as_str)) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("it knows {}", quoted(known)),
        };
        Err(ModuleError::UnknownKey { key: key.clone(), help })
    }

    /// Checks that the module has this command.
    pub(super) fn require_command(&self, command: &str) -> Result<(), ModuleError> {
        if self.has_command(command) {
            return Ok(());
        }
        let (module, command) = (self.path.clone(), command.to_owned());
        Err(ModuleError::NoCommand { module, command, exports: quoted(&self.commands) })
    }
}

fn quoted<'w>(words: impl IntoIterator<Item = &'w String>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

type ModuleSlot = Arc<tokio::sync::Mutex<Option<(FileStamp, Arc<Module>)>>>;

/// The inspected modules. The outer lock is held only for a lookup, the inner one while the module is inspected.
#[derive(Default)]
pub(super) struct Modules(Mutex<BTreeMap<PathBuf, ModuleSlot>>);

impl Modules {
    /// Inspects a module, unless its version is known.
    pub(super) async fn load(
        &self,
        caller: &CallContext,
        settings: &Settings,
        path: &Path,
    ) -> Result<Arc<Module>, ManagerError> {
        let read = {
            let path = path.to_owned();
            move || stamp(&path)
        };
        let stamp = run_on_files(&caller.accepted.permit(path), read).await.flatten();
        let stamp = stamp.map_err(|error| ModuleError::read(path, error))?;
        let known = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(path.to_owned()).or_default())
        };
        let mut known = known.lock().await;
        if let Some((of, module)) = &*known
            && *of == stamp
        {
            return Ok(Arc::clone(module));
        }
        let module = Arc::new(load_module(caller, settings, path).await?);
        *known = Some((stamp, Arc::clone(&module)));
        Ok(module)
    }
}

/// Checks that the file exists and can be read.
pub(super) fn find(path: &Path) -> Result<(), ModuleError> {
    let found = stamp(path).and_then(|_| std::fs::File::open(path));
    found.map(drop).map_err(|error| ModuleError::read(path, error))
}

fn stamp(path: &Path) -> std::io::Result<FileStamp> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() || about.len() > MAX_FILE_BYTES {
        return Err(std::io::Error::other("it is not a regular file of bounded size"));
    }
    Ok(FileStamp::from(&about))
}

async fn load_module(caller: &CallContext, settings: &Settings, path: &Path) -> Result<Module, ManagerError> {
    #[derive(Deserialize)]
    struct Exports {
        commands: BTreeSet<String>,
        contract: Option<serde_json::Value>,
        with: Option<serde_json::Value>,
    }
    let seen: Exports = inspect(caller, settings, path, INSPECT_SCRIPT).await?;
    let with = seen.with.map(serde_json::from_value::<Vec<String>>).transpose();
    let with = with.map_err(|_| ModuleError::With { module: path.to_owned() })?;
    let contract = seen.contract.unwrap_or_else(|| CONTRACT_VERSION.into());
    match contract.as_i64() {
        Some(CONTRACT_VERSION) => {
            Ok(Module { path: path.to_owned(), contract: CONTRACT_VERSION, commands: seen.commands, with })
        }
        _ => {
            let (module, supported) = (path.to_owned(), CONTRACT_VERSION);
            Err(ModuleError::Contract { module, contract, supported }.into())
        }
    }
}
