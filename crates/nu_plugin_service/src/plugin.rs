//! [`ServicePlugin`]: the state that all calls share.

use service_client::client::Clients;
use std::sync::Arc;

/// The plugin, with one HTTP client per socket that its calls share.
#[derive(Default)]
pub struct ServicePlugin {
    pub(crate) clients: Arc<Clients>,
}
