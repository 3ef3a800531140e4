//! [`ChecksInFlight`]: the services whose files are looked at just now before a start.

use service_core::Name;
use std::collections::BTreeSet;
use tokio::sync::watch;

/// The services at which somebody checks just now: a disk that does not answer keeps one thread for each, and no more.
#[derive(Debug, Default)]
pub struct ChecksInFlight(watch::Sender<BTreeSet<Name>>);

impl ChecksInFlight {
    /// Ends when nobody checks at this service.
    pub async fn wait_for(&self, name: &Name) {
        let _ = self.0.subscribe().wait_for(|services| !services.contains(name)).await;
    }

    pub fn begin<'a>(&'a self, name: &'a Name) -> CheckGuard<'a> {
        self.0.send_modify(|services| {
            services.insert(name.clone());
        });
        CheckGuard { checks: self, name }
    }
}

/// A look at one service that is under way.
pub struct CheckGuard<'a> {
    checks: &'a ChecksInFlight,
    name: &'a Name,
}

impl Drop for CheckGuard<'_> {
    fn drop(&mut self) {
        self.checks.0.send_modify(|services| {
            services.remove(self.name);
        });
    }
}
