//! [`Wanted`]: the additional input of a manager for a container service.

use serde::Serialize;
use service_core::config::{Pull, Service, name_of};
use service_host::paths::Paths;
use std::path::Path;

/// `SIGTERM`, the default stop signal. A service with this signal uses the image's stop signal.
const USUAL_SIGNAL: i32 = 15;

#[derive(Serialize)]
pub(super) struct Wanted<'a> {
    image: &'a str,
    pull: &'static str,
    ports: &'a [String],
    volumes: Vec<String>,
    networks: &'a [String],
    command: &'a [String],
    user: Option<&'a str>,
    group: Option<&'a str>,
    memory_limit: Option<u64>,
    cpu_limit: Option<f64>,
    stop_signal: Option<i32>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(service: &'a Service, paths: &Paths) -> Option<Self> {
        let container = service.container.as_ref()?;
        Some(Self {
            image: &container.image,
            pull: name_of(&Pull::ALL, container.pull),
            ports: &container.ports,
            volumes: container
                .volumes
                .iter()
                .map(|volume| with_absolute_source(volume, &paths.base_dir))
                .collect(),
            networks: &container.networks,
            command: &service.start_command.argv,
            user: service.user.as_deref(),
            group: service.group.as_deref(),
            memory_limit: service.limits.memory,
            cpu_limit: service.limits.cpu,
            stop_signal: Some(service.stop_signal).filter(|signal| *signal != USUAL_SIGNAL),
        })
    }
}

/// A volume with an absolute source path. A volume name is not changed.
fn with_absolute_source(volume: &str, base_dir: &Path) -> String {
    match volume.split_once(':') {
        Some((source, rest)) if source.contains('/') || source == "." || source == ".." => {
            format!("{}:{rest}", base_dir.join(source.strip_prefix("./").unwrap_or(source)).display())
        }
        _ => volume.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_the_name_of_a_volume() {
        let whole = |volume| with_absolute_source(volume, Path::new("/home/me/shop"));
        assert_eq!(whole("./site:/srv:ro"), "/home/me/shop/site:/srv:ro");
        assert_eq!(whole("../all/site:/srv"), "/home/me/shop/../all/site:/srv");
        assert_eq!(whole("/etc/site:/srv"), "/etc/site:/srv");
        assert_eq!(whole("data:/var/lib"), "data:/var/lib");
        assert_eq!(whole("/scratch"), "/scratch");
    }
}
