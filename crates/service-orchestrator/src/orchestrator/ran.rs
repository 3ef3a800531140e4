//! The definition of each service's last run, kept beside its record, so that a later daemon knows what runs; and the
//! names that were there when the file was last applied.
//!
//! A definition has the service's environment in it: the file is its owner's alone, as the directory is.

use super::private_dir;
use crate::store::write_private;
use crate::world::Places;
use serde::{Deserialize, Serialize};
use service_core::config::Service;
use service_core::{Name, Plan};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

#[derive(Serialize, Deserialize)]
struct Kept<S> {
    run: u64,
    definition: S,
}

/// Writes down with what a run is started. Without it the next daemon takes what the file says then.
pub(super) fn keep(places: &Places, definition: &Service, run: u64) {
    let directory = places.files(&definition.name).directory().to_path_buf();
    let json = serde_json::to_vec(&Kept { run, definition }).map_err(io::Error::from);
    let kept = json.and_then(|json| {
        private_dir(&directory)?;
        write_private(&directory.join("definition.json"), &json)
    });
    if let Err(error) = kept {
        tracing::warn!(service = %definition.name, %error, "cannot write down its definition");
    }
}

/// With what this run was started, if that was written down and can be read.
pub(super) fn kept(places: &Places, name: &Name, run: u64) -> Option<Service> {
    let path = places.files(name).directory().join("definition.json");
    let kept: Kept<Service> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (kept.run == run && kept.definition.name == *name).then_some(kept.definition)
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
