//! The definition of each service's last run, kept beside its record, so that a later daemon knows what runs; and the
//! names that were there when the file was last applied.
//!
//! Of the environment only a trace is written down: enough to see whether a value is still the same, not what it was.

use super::private_dir;
use crate::store::{append_private, last_line, open_private, write_private};
use crate::world::Places;
use serde::{Deserialize, Serialize};
use service_core::config::Service;
use service_core::{Name, Plan};
use service_shim::Files;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io;
use std::path::PathBuf;

#[derive(Serialize, Deserialize)]
struct Kept {
    run: u64,
    /// Makes the same value look different in each file.
    #[serde(default)]
    salt: u64,
    definition: Service,
}

/// Makes what a start will need while there is time; if that fails, the start says why.
pub(super) fn prepare(files: &Files) {
    let made = private_dir(files.directory()).and_then(|()| files.prepare());
    let _ = made.and_then(|()| open_private(&file(files)));
}

/// Writes down with what a run is started. Without it the next daemon takes what the file says then.
pub(super) fn keep(places: &Places, definition: &Service, run: u64) {
    let files = places.files(&definition.name);
    let (salt, mut definition) = (RandomState::new().hash_one(run), definition.clone());
    for (key, value) in &mut definition.env {
        *value = trace(salt, key, value);
    }
    let name = definition.name.clone();
    let json = serde_json::to_vec(&Kept { run, salt, definition }).map_err(io::Error::from);
    let kept = json.and_then(|json| match append_private(&file(&files), &json) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            private_dir(files.directory())?;
            append_private(&file(&files), &json)
        }
        kept => kept,
    });
    if let Err(error) = kept {
        tracing::warn!(service = %name, %error, "cannot write down its definition");
    }
}

fn file(files: &Files) -> PathBuf {
    files.directory().join("definition.json")
}

/// With what this run was started, if that was written down and can be read. A variable whose value is still that of
/// `now` has it; of another one there is only the trace.
pub(super) fn kept(places: &Places, now: &Service, run: u64) -> Option<Service> {
    // The first run has the number 1; to look for what a project of hundreds has never run takes its time.
    if run == 0 {
        return None;
    }
    let Kept { run: of, salt, mut definition } = last_line(&file(&places.files(&now.name)))?;
    for (key, value) in &mut definition.env {
        let same = now.env.iter().find(|(other, known)| other == key && trace(salt, key, known) == *value);
        if let Some((_, known)) = same {
            value.clone_from(known);
        }
    }
    (of == run && definition.name == now.name).then_some(definition)
}

/// Whether a value of the environment is not known, but for its trace.
pub(super) fn is_incomplete(definition: &Service) -> bool {
    definition.env.iter().any(|(_, value)| value.starts_with(TRACE))
}

/// No value of an environment can begin with it.
const TRACE: char = '\0';

fn trace(salt: u64, key: &str, value: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (salt, key, value).hash(&mut hasher);
    format!("{TRACE}{:016x}", hasher.finish())
}

/// The services that are no news; all of this plan in a project that is new.
pub(super) fn known(places: &Places, plan: &Plan) -> BTreeSet<Name> {
    let read = std::fs::read(applied(places)).ok();
    read.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_else(|| {
        let names = plan.ids().map(|id| plan.service(id).name.clone()).collect();
        know(places, &names);
        names
    })
}

/// Writes down which services are no news from now on.
pub(super) fn know(places: &Places, names: &BTreeSet<Name>) {
    let json = serde_json::to_vec(names).map_err(io::Error::from);
    if let Err(error) = json.and_then(|json| write_private(&applied(places), &json)) {
        tracing::warn!(%error, "cannot write down what was applied");
    }
}

fn applied(places: &Places) -> PathBuf {
    places.state_dir.join("applied.json")
}
