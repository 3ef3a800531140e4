//! The API on TCP, if `[orchestrator.api]` configures it.
//!
//! If the port is in use or the certificate cannot be read, the Unix socket is not affected: the error is logged and
//! shown, and opening the listener is retried.

use service_http::{self as http, ApiState};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// The delay after a failed attempt to open the listener.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Opens the listener and serves it until `end`, with the settings of the daemon's start.
pub(super) async fn serve(api: Arc<ApiState>, mut end: Receiver<()>) {
    let Some(settings) = api.orchestrator.plan().settings().api.clone() else { return };
    let base = api.project.config.parent().unwrap_or(Path::new("/")).to_path_buf();
    loop {
        match http::bind_tcp(&settings, &base, &api.project.state_dir).await {
            Ok(listener) => {
                let url = listener.url();
                tracing::info!(url, "answering over TCP");
                set_address(&api, url);
                return http::serve_remote(listener, api, async move { drop(end.changed().await) }).await;
            }
            Err(why) => {
                let why = format!("cannot listen on {}: {why}", settings.listen);
                if set_address(&api, why.clone()) {
                    tracing::error!("{why}; trying again");
                }
            }
        }
        tokio::select! {
            _ = end.changed() => return,
            () = tokio::time::sleep(RETRY_DELAY) => {}
        }
    }
}

/// Sets the address, or the error, for the status. Returns whether the value differs from the previous one.
fn set_address(api: &ApiState, address: String) -> bool {
    let mut shown = api.tcp_address.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = shown.as_ref() != Some(&address);
    *shown = Some(address);
    is_new
}
