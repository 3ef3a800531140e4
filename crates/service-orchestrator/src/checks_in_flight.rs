//! [`ChecksInFlight`]: the preflight checks that are running, and their limit.

use service_core::Name;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch};

/// The maximum number of requests whose services are checked at the same time. A check that hangs on a disk keeps its
/// permit.
const MAX_CHECKS: usize = 16;

/// The services whose files are being checked. Only one thread at a time checks a service, so that a hanging disk
/// blocks at most one thread for each service.
#[derive(Debug)]
pub(crate) struct ChecksInFlight {
    services: watch::Sender<BTreeSet<Name>>,
    permits: Arc<Semaphore>,
}

impl Default for ChecksInFlight {
    fn default() -> Self {
        Self { services: watch::Sender::default(), permits: Arc::new(Semaphore::new(MAX_CHECKS)) }
    }
}

impl ChecksInFlight {
    /// Waits until no check of this service is running.
    pub(crate) async fn wait_for(&self, name: &Name) {
        let _ = self.services.subscribe().wait_for(|services| !services.contains(name)).await;
    }

    /// Waits for the permit to check the services of one command.
    pub(crate) async fn acquire(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.permits).acquire_owned().await
    }

    /// Marks a service as being checked, until the guard is dropped.
    pub(crate) fn begin<'a>(&'a self, name: &'a Name) -> CheckGuard<'a> {
        self.services.send_modify(|services| {
            services.insert(name.clone());
        });
        CheckGuard { checks: self, name }
    }
}

/// A running check of one service.
pub(crate) struct CheckGuard<'a> {
    checks: &'a ChecksInFlight,
    name: &'a Name,
}

impl Drop for CheckGuard<'_> {
    fn drop(&mut self) {
        self.checks.services.send_modify(|services| {
            services.remove(self.name);
        });
    }
}
