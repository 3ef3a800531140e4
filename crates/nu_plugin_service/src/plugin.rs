//! [`ServicePlugin`]: what all calls share.

use crate::client::Clients;
use std::sync::Arc;

/// The plugin, and what its calls share while it lives: one HTTP client a socket.
#[derive(Default)]
pub struct ServicePlugin {
    pub(crate) clients: Arc<Clients>,
}
