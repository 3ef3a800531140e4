//! The face of the service orchestrator in Nushell: the `service` commands.
//!
//! A command finds its project, asks the project's daemon over its socket (starting it where it must), and turns the
//! answer into typed rows. It decides nothing about services, and it never outlives a ctrl-c.

mod cancel;
mod cells;
mod client;
mod commands;
mod daemon_address;
mod error;
#[cfg(test)]
mod fake;
mod follow;
mod launch;
mod orchestratord;
mod plugin;
mod progress;
mod project;
mod remote;
mod selector;
mod session;
mod shell;
mod shown;
mod since;
mod stream;
mod table;
mod tailing;
mod wire;

pub use plugin::ServicePlugin;

use nu_plugin::{Plugin, PluginCommand};

/// The minor version of Nushell that this is built for.
const NUSHELL: &str = "0.115";

/// What to say to a Nushell of this version, if it is one that we are not built for.
pub fn mismatch(version: &str) -> Option<String> {
    let same = version.strip_prefix(NUSHELL).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    (!same).then(|| {
        format!(
            "nu_plugin_service is built for Nushell {NUSHELL}, and this is {version}: run `nu install.nu` of the service \
             orchestrator with it, or say `use service-http *`, which has the same commands"
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
