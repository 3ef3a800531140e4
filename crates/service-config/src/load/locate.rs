//! [`locate_keys`]: finds the locations of services' keys in the file.

use super::file::{analyze, read};
use super::key_map::KeyMap;
use service_api::SourceLocation;
use service_core::config::{Origin, Service};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The location of each key of each service; without the key, the location of the service's name. A service that the
/// file does not define, or defines differently now, has no location.
pub fn locate_keys(file: &Path, keys: Vec<(Arc<Service>, &[&str])>) -> Vec<Option<SourceLocation>> {
    let Ok(text) = read(file) else { return keys.iter().map(|_| None).collect() };
    let map = KeyMap::parse(text.as_str());
    let services = analyze(&text).services;
    let defined: BTreeMap<_, _> = services.iter().map(|service| (&service.name, service)).collect();
    let place = |(service, key): (Arc<Service>, &[&str])| {
        let is_same = service.origin == Origin::File
            && defined.get(&service.name).is_some_and(|defined| **defined == *service);
        span(&map, &service, key).filter(|_| is_same).map(|span| text.place(&span))
    };
    keys.into_iter().map(place).collect()
}

/// The span of a service's key: in the service, else in `service_defaults`, else of the service's name.
pub(super) fn span(map: &KeyMap<'_>, service: &Service, key: &[&str]) -> Option<Range<usize>> {
    let own = |key: &[&str]| map.value(&[&["services", &*service.name], key].concat());
    let default = |key: &[&str]| map.value(&[&["orchestrator", "service_defaults"], key].concat());
    // With `shell`, the program of `start_command` is the shell.
    let shell = || own(&["shell"]).or_else(|| default(&["shell"])).filter(|_| key == ["start_command"]);
    shell().or_else(|| own(key)).or_else(|| default(key)).or_else(|| map.name(&service.name))
}
