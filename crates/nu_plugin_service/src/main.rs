//! `nu_plugin_service`: what `plugin add` is pointed at.

use nix::unistd::getppid;
use nu_plugin::{MsgPackSerializer, serve_plugin};
use nu_plugin_service::{ServicePlugin, mismatch};
use std::time::Duration;

/// How often to look whether the Nushell that this is a plugin of still lives.
const LOOK: Duration = Duration::from_millis(500);

fn main() {
    // Nushell ends us for it, and does not say what to do.
    if let Some(words) = std::env::var("NU_VERSION").ok().and_then(|version| mismatch(&version)) {
        eprintln!("{words}");
    }
    end_with_the_shell();
    serve_plugin(&ServicePlugin::default(), MsgPackSerializer);
}

/// A call that waits hears of the end of its Nushell only with its next row, which may never come; until then it would hold
/// what it was given as its output. A death signal will not do: it comes at the end of the thread that started us.
fn end_with_the_shell() {
    let shell = getppid();
    std::thread::spawn(move || {
        while getppid() == shell {
            std::thread::sleep(LOOK);
        }
        std::process::exit(0);
    });
}
