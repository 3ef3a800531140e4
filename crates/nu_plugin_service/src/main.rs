//! `nu_plugin_service`: what `plugin add` is pointed at.

use nu_plugin::{MsgPackSerializer, serve_plugin};
use nu_plugin_service::ServicePlugin;

fn main() {
    serve_plugin(&ServicePlugin::default(), MsgPackSerializer);
}
