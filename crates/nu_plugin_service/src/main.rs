//! `nu_plugin_service`: the program that `plugin add` registers.

use nix::unistd::getppid;
use nu_plugin::{MsgPackSerializer, serve_plugin};
use nu_plugin_service::{ServicePlugin, mismatch};
use std::time::Duration;

/// The interval at which the plugin checks that its Nushell still runs.
const PARENT_CHECK_INTERVAL: Duration = Duration::from_millis(500);

fn main() {
    // Nushell rejects a plugin for another version without naming a remedy.
    if let Some(message) = std::env::var("NU_VERSION").ok().and_then(|version| mismatch(&version)) {
        eprintln!("{message}");
    }
    exit_with_shell();
    serve_plugin(&ServicePlugin::default(), MsgPackSerializer);
}

/// Exits when Nushell exits. A waiting call would notice this only with its next row, which may never come, and would
/// keep its output open until then. A parent death signal is not suitable, because the kernel sends it when the thread
/// that started the plugin ends.
fn exit_with_shell() {
    let shell = getppid();
    std::thread::spawn(move || {
        while getppid() == shell {
            std::thread::sleep(PARENT_CHECK_INTERVAL);
        }
        std::process::exit(0);
    });
}
