//! `nu_plugin_service`: what `plugin add` is pointed at.

use nu_plugin::{MsgPackSerializer, serve_plugin};
use nu_plugin_service::{ServicePlugin, mismatch};

fn main() {
    // Nushell ends us for it, and does not say what to do.
    if let Some(words) = std::env::var("NU_VERSION").ok().and_then(|version| mismatch(&version)) {
        eprintln!("{words}");
    }
    serve_plugin(&ServicePlugin::default(), MsgPackSerializer);
}
