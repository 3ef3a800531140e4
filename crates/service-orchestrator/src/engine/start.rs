//! Construction: recovers the state directory, builds the engine and spawns it.

use super::drivers::Drivers;
use super::inbox::Inbox;
use super::message::EngineCommand;
use super::recovery;
use super::request_log::RequestLog;
use super::runtime::{Orphaned, RetiredRuns, ServiceRuntime};
use super::task::Engine;
use super::unclear::Unclear;
use crate::snapshot::{FleetSnapshot, ServiceSnapshot};
use service_core::Plan;
use service_core::fleet::Fleet;
use service_host::clock;
use service_host::time_slice::TimeSlice;
use service_store::journal::Journal;
use service_store::{Store, applied_names};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

/// Recovers the state directory and spawns the engine. The first snapshot is published before this returns.
///
/// # Errors
/// The reason why the state directory cannot be recovered.
pub(crate) async fn run(
    drivers: Drivers,
    plan: Plan,
    inbox: Inbox,
    commands: UnboundedSender<EngineCommand>,
) -> std::io::Result<watch::Receiver<Arc<FleetSnapshot>>> {
    let (store, memories) = Store::open(&drivers.paths)?;
    let journal = Journal::open(&drivers.paths, store.last_event());
    let applied = applied_names::load(&drivers.paths, &plan);
    let found = recovery::find_runs(&drivers.paths, &drivers.definitions, plan, &memories).await;
    let reported = recovery::query_managers(&drivers, &found, &memories).await;
    let fleet = Fleet::new(Arc::new(found.plan), clock::now().as_nanos());
    let services = fleet.plan().ids().map(|id| {
        let is_orphaned = found.orphaned.contains(&fleet.plan().service(id).name);
        let orphaned = if is_orphaned { Orphaned::Yes } else { Orphaned::No };
        ServiceRuntime::new(ServiceSnapshot::new(&fleet, id), orphaned)
    });
    let services: Vec<ServiceRuntime> = services.collect();
    let entries = services.iter().map(|service| Arc::clone(&service.snapshot)).collect();
    let published = FleetSnapshot { plan: Arc::clone(fleet.plan()), entries };
    let (snapshots, reader) = watch::channel(Arc::new(published));
    let slice = TimeSlice::new(Arc::clone(&drivers.loop_metrics));
    let mut task = Engine {
        drivers,
        fleet,
        services,
        waiters: Vec::new(),
        requests: RequestLog::default(),
        applied,
        stop_failed: BTreeSet::new(),
        retired: RetiredRuns::default(),
        has_removals: false,
        running_applies: 0,
        slice,
        store,
        journal,
        by: None,
        snapshots,
    };
    task.record_definitions();
    task.record_unqueried();
    let unclear = Unclear::new(&found.runs, [found.unlisted, found.unsearched], &memories, found.began);
    let known = task.adopt_all(memories, found.runs, reported);
    task.after().await;
    for (name, run, report) in known {
        task.apply_observation(&name, run, report);
    }
    task.after().await;
    let drivers = &task.drivers;
    let (paths, definitions) = (Arc::clone(&drivers.paths), Arc::clone(&drivers.definitions));
    tokio::spawn(unclear.find_out(paths, definitions, commands));
    tokio::spawn(task.work(inbox));
    Ok(reader)
}
