//! [`ServicePlugin`]: the state that all calls share.

use service_client::client::Clients;
use std::sync::Arc;

/// The plugin. Its calls share one HTTP client per socket.
#[derive(Default)]
pub struct ServicePlugin {
    pub(crate) clients: Arc<Clients>,
}
