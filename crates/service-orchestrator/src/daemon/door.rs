//! The door for others: the API on TCP, where `[orchestrator.api]` says so.
//!
//! What runs must be seen and can be stopped whatever becomes of this door. So a port that is taken or a certificate that
//! cannot be read keeps nobody from the socket: it is told, and tried again.

use super::Shared;
use crate::http;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// After a door that could not be opened.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Opens it and answers there until `end`. What the file says when the daemon begins is what holds.
pub(super) async fn keep(shared: Arc<Shared>, mut end: Receiver<()>) {
    let Some(api) = shared.orchestrator.plan().settings().api.clone() else { return };
    let base = shared.project.config.parent().unwrap_or(Path::new("/")).to_path_buf();
    loop {
        match http::open(&api, &base, &shared.project.state_dir).await {
            Ok(opened) => {
                let url = opened.url();
                tracing::info!(url, "answering over TCP");
                tell(&shared, url);
                return http::serve_remote(opened, shared, async move { drop(end.changed().await) }).await;
            }
            Err(why) => {
                let why = format!("cannot listen on {}: {why}", api.listen);
                if tell(&shared, why.clone()) {
                    tracing::error!("{why}; trying again");
                }
            }
        }
        tokio::select! {
            _ = end.changed() => return,
            () = tokio::time::sleep(TRY_AGAIN) => {}
        }
    }
}

/// Notes how it is; whether that is news.
fn tell(shared: &Shared, how: String) -> bool {
    let mut listen = shared.listen.lock().unwrap_or_else(PoisonError::into_inner);
    let news = listen.as_ref() != Some(&how);
    *listen = Some(how);
    news
}
