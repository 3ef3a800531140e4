//! [`places`]: where the definitions of services stand in the file.

use super::file::{read, understand};
use super::map::Map;
use service_api::Place;
use service_core::config::{Origin, Service};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Where these keys of these services stand, or else the names of the services; nothing where the file does not define the
/// service, or not so any more.
pub(crate) fn places(file: &Path, keys: Vec<(Arc<Service>, &[&str])>) -> Vec<Option<Place>> {
    let Ok(text) = read(file) else { return keys.iter().map(|_| None).collect() };
    let map = Map::of(text.as_str());
    let services = understand(&text).services;
    let defined: BTreeMap<_, _> = services.iter().map(|service| (&service.name, service)).collect();
    let place = |(service, key): (Arc<Service>, &[&str])| {
        let is_same = service.origin == Origin::File
            && defined.get(&service.name).is_some_and(|defined| **defined == *service);
        let own = |key: &[&str]| map.value(&[&["services", &*service.name], key].concat());
        let default = |key: &[&str]| map.value(&[&["orchestrator", "service_defaults"], key].concat());
        // The program of a command that a shell runs is the shell.
        let shell = || own(&["shell"]).or_else(|| default(&["shell"])).filter(|_| key == ["start_command"]);
        let value = shell().or_else(|| own(key)).or_else(|| default(key)).or_else(|| map.name(&service.name));
        value.filter(|_| is_same).map(|span| text.place(&span))
    };
    keys.into_iter().map(place).collect()
}
