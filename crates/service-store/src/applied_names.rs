//! The names of the services in the last applied file.

use service_core::{Name, Plan};
use service_host::disk;
use service_host::paths::Paths;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

/// The names of the last applied file; of this plan if nothing was applied.
pub fn load(paths: &Paths, plan: &Plan) -> BTreeSet<Name> {
    let read = disk::peek(&path(paths), |json| Ok(serde_json::from_slice(json)?));
    read.unwrap_or_else(|| {
        let names = plan.ids().map(|id| plan.service(id).name.clone()).collect();
        save(paths, &names);
        names
    })
}

/// Saves the names of the applied file.
pub fn save(paths: &Paths, names: &BTreeSet<Name>) {
    let json = serde_json::to_vec(names).map_err(io::Error::from);
    if let Err(error) = json.and_then(|json| paths.disk.replace(&path(paths), &json)) {
        tracing::warn!(%error, "cannot save the applied definitions");
    }
}

fn path(paths: &Paths) -> PathBuf {
    paths.state_dir.join("applied.json")
}
