//! Returns unused heap to the kernel after startup and after bursts, when neither services nor connections change.

use service_host::clock;
use service_host::memory::trim_heap;
use service_http::ApiState;
use std::sync::Arc;
use std::time::Duration;

/// The time without a change after which the heap is trimmed.
const IDLE_DELAY: Duration = Duration::from_secs(1);
/// The maximum delay while changes continue, for example because of checks.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Trims the heap after each idle time. Returns when the orchestrator has ended.
pub(super) async fn trim_when_idle(api: Arc<ApiState>) {
    let mut boards = api.orchestrator.snapshots();
    let mut changed = async || {
        tokio::select! {
            changed = boards.changed() => changed.is_ok(),
            () = api.connections.closed() => true,
        }
    };
    loop {
        let latest = clock::now().plus(MAX_DELAY);
        while clock::now() < latest {
            match tokio::time::timeout(IDLE_DELAY, changed()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => break,
            }
        }
        // The call takes some milliseconds.
        let _ = tokio::task::spawn_blocking(trim_heap).await;
        if !changed().await {
            return;
        }
    }
}
