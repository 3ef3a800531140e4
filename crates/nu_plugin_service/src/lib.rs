//! The Nushell plugin of the service orchestrator: the `service` commands.
//!
//! A command finds its project, sends a request to the project's daemon (and starts the daemon if needed), and converts
//! the response into typed rows. It makes no decisions about services. Every call ends on ctrl-c.

mod commands;
mod event_stream;
mod log_follow;
mod plugin;
mod printable;
mod selector;
mod session;

pub use plugin::ServicePlugin;

use nu_plugin::{Plugin, PluginCommand};

/// The minor version of Nushell that this plugin is built for.
const NUSHELL: &str = "0.115";

/// The message for a Nushell of another version; `None` if the version matches.
pub fn mismatch(version: &str) -> Option<String> {
    let same = version.strip_prefix(NUSHELL).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    (!same).then(|| {
        format!(
            "nu_plugin_service is built for Nushell {NUSHELL}, and this is {version}: run `nu install.nu` of the service \
             orchestrator with it, or run `use service-http *`, which has the same commands"
        )
    })
}

impl Plugin for ServicePlugin {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn commands(&self) -> Vec<Box<dyn PluginCommand<Plugin = Self>>> {
        commands::all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_minor_version_of_nushell_is_told_what_to_do() {
        let built_for = format!("nu-plugin = \"{NUSHELL}.");
        assert!(
            include_str!("../../../Cargo.toml").contains(&built_for),
            "the version here is the one in Cargo.toml"
        );
        assert_eq!(mismatch(&format!("{NUSHELL}.9")), None);
        assert!(mismatch("0.114.1").unwrap().contains("`nu install.nu`"));
        assert!(mismatch(&format!("{NUSHELL}5.0")).is_some());
    }
}
