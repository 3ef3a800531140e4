//! Returns unused heap to the kernel after startup and after bursts, once no service changes.

use crate::host::clock;
use crate::host::memory::trim_heap;
use crate::http::ApiState;
use std::sync::Arc;
use std::time::Duration;

/// Without a change for so long, the heap is trimmed.
const IDLE_DELAY: Duration = Duration::from_secs(1);
/// The longest delay where something changes all the time, as checks do.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Never returns while the orchestrator lives.
pub(super) async fn trim_when_idle(api: Arc<ApiState>) {
    let mut boards = api.orchestrator.boards();
    loop {
        let latest = clock::now().plus(MAX_DELAY);
        while clock::now() < latest {
            match tokio::time::timeout(IDLE_DELAY, boards.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => break,
            }
        }
        trim_heap();
        if boards.changed().await.is_err() {
            return;
        }
    }
}
