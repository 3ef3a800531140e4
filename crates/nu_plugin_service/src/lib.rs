//! The face of the service orchestrator in Nushell: the `service` commands.
//!
//! A command finds its project, asks the project's daemon over its socket (starting it where it must), and turns the
//! answer into typed rows. It decides nothing about services, and it never outlives a ctrl-c.

mod cancel;
mod cells;
mod client;
mod commands;
mod error;
#[cfg(test)]
mod fake;
mod follow;
mod launch;
mod progress;
mod selector;
mod session;
mod shell;
mod since;
mod stream;
mod table;
mod tailing;

use client::Clients;
use nu_plugin::{Plugin, PluginCommand};
use std::sync::Arc;

/// The plugin, and what its calls share while it lives: one HTTP client a socket.
#[derive(Default)]
pub struct ServicePlugin {
    clients: Arc<Clients>,
}

impl Plugin for ServicePlugin {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn commands(&self) -> Vec<Box<dyn PluginCommand<Plugin = Self>>> {
        commands::all()
    }
}
