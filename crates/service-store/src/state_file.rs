//! [`Store`]: `state.json`, the state that outlives the daemon: goals, and the state of each service.
//!
//! The first line is the complete state. Each further line is a later change, and the last one for a service counts.
//! The file is replaced atomically when it becomes long, when a service is removed, and when the daemon ends; written
//! lines never change. (On `ext4`, replacing a file takes ten times as long as appending.) Each line has a checksum,
//! and [`Disk`] syncs the file. New goals and new runs are written before they take effect; a new run's record replaces
//! the previous record. Other changes are collected for [`COLLECT_DELAY`], because the records of the shims contain
//! them too. The file has no environments and no other secrets.
//!
//! While the file cannot be written (a full disk, a read-only file system), the same lines go to a fallback file in
//! memory, beside the daemon's socket. The newer of the two files counts.

use serde::{Deserialize, Serialize};
use service_core::fleet::Fleet;
use service_core::service::PersistedState;
use service_core::{Id, Moment, Name, Snapshot};
use service_host::clock;
use service_host::disk::{self, Disk};
use service_host::fs::private_dir;
use service_host::fs::write_private;
use service_host::paths::Paths;
use service_host::time_slice::TimeSlice;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Format of the file. Version 1 had only the first line.
const VERSION: u32 = 2;
/// The total size of changes at which the file is replaced.
const MAX_CHANGES_BYTES: u64 = 64 * 1024;
/// The time for which changes are collected that need not be written first.
const COLLECT_DELAY: Duration = Duration::from_millis(200);
/// The maximum number of services that are serialized on the engine's thread.
const MAX_INLINE_COUNT: usize = 128;
/// The delay after a failed write, for example with a full disk. Changes go to the fallback file meanwhile.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// The state file, and the deadline of the next write.
pub struct Store {
    target: StateFilePaths,
    due: Option<Moment>,
    /// The next attempt after a write error; `None` after a success.
    retry_at: Option<Moment>,
    written: Option<WrittenState>,
    /// The services changed since the last write; `None` if another plan has renumbered them.
    fresh: Option<BTreeSet<Id>>,
    last_event: u64,
}

/// The file that is written, and how.
#[derive(Clone)]
struct StateFilePaths {
    path: PathBuf,
    fallback_state_file: Option<PathBuf>,
    boot_id: String,
    disk: Disk,
}

/// The state in the file.
struct WrittenState {
    services: BTreeMap<Name, PersistedState>,
    /// The size of the file, and of its first line, in bytes.
    length: u64,
    first: u64,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    boot_id: String,
    #[serde(flatten)]
    change: StateChange,
}

/// A further line: the present states of some services.
#[derive(Serialize, Deserialize)]
struct StateChange {
    /// The time of writing, in nanoseconds since boot.
    #[serde(default)]
    written: u64,
    /// The number of the last event at that time, because the journal may lose events that this file has counted.
    #[serde(default)]
    events: u64,
    services: BTreeMap<Name, PersistedState>,
}

impl Store {
    /// Reads the state of a former daemon. Damaged files are set aside once, and the state is rebuilt from the shims.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn open(paths: &Paths) -> io::Result<(Self, BTreeMap<Name, PersistedState>)> {
        let path = paths.state_dir.join("state.json");
        let fallback_state_file = paths.fallback_state_file.clone();
        let later = fallback_state_file
            .as_deref()
            .map(|fallback_state_file| disk::read_if_present(fallback_state_file, parse))
            .transpose()?
            .flatten();
        let later = later.filter(|later| later.boot_id == paths.boot_id);
        let usual = paths.disk.read(&path, parse)?;
        let found = latest(usual, later);
        let last_event = found.as_ref().map_or(0, |contents| contents.change.events);
        let mut memories = match found {
            Some(contents) if contents.boot_id == paths.boot_id => contents.change.services,
            Some(contents) => {
                let mut services = contents.change.services;
                for memory in services.values_mut() {
                    memory.on_reboot(clock::now());
                }
                services
            }
            None => BTreeMap::new(),
        };
        memories.retain(|_, memory| *memory != PersistedState::default());
        let (boot_id, disk) = (paths.boot_id.clone(), paths.disk.clone());
        let target = StateFilePaths { path, fallback_state_file, boot_id, disk };
        let (due, retry_at, written, fresh) = (None, None, None, None);
        Ok((Self { target, due, retry_at, written, fresh, last_event }, memories))
    }

    /// Records that a service has changed.
    pub fn changed(&mut self, before: &Snapshot, after: &Snapshot, now: Moment) {
        if let Some(fresh) = &mut self.fresh {
            fresh.insert(after.id);
        }
        if (before.goal, before.run) != (after.goal, after.run) {
            self.due = Some(now);
        } else if (&before.state, before.restarts, before.health)
            != (&after.state, after.restarts, after.health)
        {
            self.due.get_or_insert(now.plus(COLLECT_DELAY));
        }
    }

    /// Records that the plan has changed.
    pub fn planned_anew(&mut self) {
        self.fresh = None;
    }

    /// The time of the next call of [`Store::write_if_due`].
    pub fn next_deadline(&self) -> Option<Moment> {
        self.due.into_iter().chain(self.retry_at).min()
    }

    /// The last event number in this file.
    pub fn last_event(&self) -> u64 {
        self.last_event
    }

    /// Writes due changes, and the number of the last event.
    pub async fn write_if_due(&mut self, fleet: &Fleet, last_event: u64, now: Moment, slice: &mut TimeSlice) {
        self.last_event = last_event;
        if self.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        match self.retry_at {
            Some(retry_at) if retry_at > now => self.write_fallback(fleet, slice).await,
            _ => self.write(fleet, slice).await,
        }
    }

    /// Writes the number of the last event now, if it has changed.
    pub async fn write_numbers(
        &mut self,
        fleet: &Fleet,
        last_event: u64,
        now: Moment,
        slice: &mut TimeSlice,
    ) {
        if last_event > self.last_event {
            self.due = Some(now);
            self.write_if_due(fleet, last_event, now, slice).await;
        }
    }

    /// Writes the complete state now, in one line.
    pub async fn flush(&mut self, fleet: &Fleet, slice: &mut TimeSlice) {
        self.written = None;
        self.write(fleet, slice).await;
    }

    /// Writes the complete state to the fallback file, between two attempts on the disk.
    async fn write_fallback(&mut self, fleet: &Fleet, slice: &mut TimeSlice) {
        self.due = None;
        if self.target.fallback_state_file.is_none() {
            return;
        }
        let services = memories(fleet, fleet.plan().ids(), slice).await;
        let (target, count, events) = (self.target.clone(), services.len(), self.last_event);
        let write = move || target.write_fallback(&target.serialize_state(services, events)?.1);
        if let Err(error) = aside(count, slice, write).await {
            tracing::error!(%error, "cannot write the state beside the socket either");
        }
    }

    async fn write(&mut self, fleet: &Fleet, slice: &mut TimeSlice) {
        (self.due, self.retry_at) = (None, None);
        let fresh = self.fresh.replace(BTreeSet::new());
        let services = match &fresh {
            Some(fresh) => memories(fleet, fresh.iter().copied(), slice).await,
            None => memories(fleet, fleet.plan().ids(), slice).await,
        };
        let events = self.last_event;
        let may_grow =
            |written: &WrittenState| written.is_short() && (fresh.is_some() || written.is_within(&services));
        if let Some(written) = self.written.take().filter(may_grow) {
            let (target, count) = (self.target.clone(), services.len());
            match aside(count, slice, move || target.append(written, &services, events)).await {
                Ok(written) => return self.written = Some(written),
                Err(error) => tracing::debug!(%error, "cannot append to the state; rewriting it"),
            }
        }
        let services = memories(fleet, fleet.plan().ids(), slice).await;
        let (target, count) = (self.target.clone(), services.len());
        match aside(count, slice, move || target.replace(services, events)).await {
            Ok(written) => self.written = Some(written),
            Err(error) => {
                let path = self.target.path.display();
                tracing::error!(%error, %path, "cannot write the state; trying again");
                self.retry_at = Some(clock::now().plus(RETRY_DELAY));
            }
        }
    }
}

/// Calls `work`, whose duration is proportional to the number of services. For many services, it runs on another
/// thread, and other tasks continue.
async fn aside<T: Send + 'static>(
    count: usize,
    slice: &mut TimeSlice,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if count <= MAX_INLINE_COUNT {
        return work();
    }
    let done = slice.release_while(tokio::task::spawn_blocking(work)).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

impl StateFilePaths {
    /// Appends the changes.
    fn append(
        &self,
        mut written: WrittenState,
        services: &BTreeMap<Name, PersistedState>,
        events: u64,
    ) -> io::Result<WrittenState> {
        let is_new = |(name, memory): &(&Name, &PersistedState)| written.services.get(*name) != Some(*memory);
        let services: BTreeMap<Name, PersistedState> =
            services.iter().filter(is_new).map(|(name, memory)| (name.clone(), memory.clone())).collect();
        let change = StateChange { written: clock::now().as_nanos(), events, services };
        let line = line(&change)?;
        let mut file = std::fs::OpenOptions::new().append(true).open(&self.path)?;
        if file.metadata()?.len() != written.length {
            return Err(io::Error::other("it was changed by another process"));
        }
        file.write_all(&line)?;
        self.disk.mark(&self.path);
        written.length += line.len() as u64;
        written.services.extend(change.services);
        Ok(written)
    }

    fn replace(&self, services: BTreeMap<Name, PersistedState>, events: u64) -> io::Result<WrittenState> {
        let (contents, line) = self.serialize_state(services, events)?;
        self.write_whole(&line).inspect_err(|_| {
            if let Err(error) = self.write_fallback(&line) {
                tracing::error!(%error, "cannot write the state beside the socket either");
            }
        })?;
        if let Some(fallback_state_file) = &self.fallback_state_file {
            // The fallback file is now outdated.
            let _ = std::fs::remove_file(fallback_state_file);
        }
        let length = line.len() as u64;
        Ok(WrittenState { services: contents.change.services, length, first: length })
    }

    /// The complete state, and its line.
    fn serialize_state(
        &self,
        services: BTreeMap<Name, PersistedState>,
        events: u64,
    ) -> io::Result<(Contents, Vec<u8>)> {
        let change = StateChange { written: clock::now().as_nanos(), events, services };
        let contents = Contents { version: VERSION, boot_id: self.boot_id.clone(), change };
        let line = line(&contents)?;
        Ok((contents, line))
    }

    fn write_fallback(&self, line: &[u8]) -> io::Result<()> {
        self.fallback_state_file.as_deref().map_or(Ok(()), |path| write_private(path, line))
    }

    /// Replaces the whole file. A deleted directory is created again.
    fn write_whole(&self, bytes: &[u8]) -> io::Result<()> {
        match (self.disk.replace(&self.path, bytes), self.path.parent()) {
            (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
                private_dir(directory)?;
                self.disk.replace(&self.path, bytes)
            }
            (written, _) => written,
        }
    }
}

impl WrittenState {
    /// Whether the file may grow further. The time to replace it is proportional to the number of services, so the
    /// limit is higher for many services.
    fn is_short(&self) -> bool {
        self.length < self.first + MAX_CHANGES_BYTES.max(self.first)
    }

    /// Whether every service in the file still exists.
    fn is_within(&self, services: &BTreeMap<Name, PersistedState>) -> bool {
        self.services.keys().all(|name| services.contains_key(name))
    }
}

/// The services that were active in this boot, according to a state directory.
pub fn were_up(state_dir: &Path, boot: &str) -> io::Result<Vec<Name>> {
    let path = state_dir.join("state.json");
    let contents = disk::peek(&path, parse);
    if contents.is_none() && path.try_exists()? {
        return Err(io::Error::other("cannot read the saved state"));
    }
    let contents = contents.filter(|contents| contents.boot_id == boot);
    let services = contents.map(|contents| contents.change.services).unwrap_or_default();
    Ok(services.into_iter().filter(|(_, memory)| memory.state.is_alive()).map(|(name, _)| name).collect())
}

async fn memories(
    fleet: &Fleet,
    ids: impl Iterator<Item = Id>,
    slice: &mut TimeSlice,
) -> BTreeMap<Name, PersistedState> {
    let mut memories = BTreeMap::new();
    for id in ids {
        slice.yield_if_spent().await;
        memories.insert(fleet.plan().service(id).name.clone(), fleet.machine(id).memory().clone());
    }
    memories
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = disk::append_checksum(serde_json::to_vec(value)?);
    line.push(b'\n');
    Ok(line)
}

/// Selects the newer state.
fn latest(usual: Option<Contents>, fallback_state_file: Option<Contents>) -> Option<Contents> {
    match (usual, fallback_state_file) {
        (Some(usual), Some(fallback_state_file))
            if fallback_state_file.boot_id == usual.boot_id
                && usual.change.written >= fallback_state_file.change.written =>
        {
            Some(usual)
        }
        (usual, fallback_state_file) => fallback_state_file.or(usual),
    }
}

/// The state in a file, combined from its lines.
fn parse(bytes: &[u8]) -> io::Result<Contents> {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut contents: Contents = disk::verify_checksum(lines.next().unwrap_or_default())?;
    if !(1..=VERSION).contains(&contents.version) {
        let version = contents.version;
        return Err(io::Error::other(format!("it has version {version}, this program reads {VERSION}")));
    }
    // A power failure may have damaged the last lines. Each line is valid without the others.
    for change in lines.filter_map(|line| disk::verify_checksum::<StateChange>(line).ok()) {
        contents.change.written = change.written;
        contents.change.events = change.events;
        contents.change.services.extend(change.services);
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_core::config::Service;
    use service_core::service::{Discovered, Exit, State};
    use service_core::{Config, Plan};
    use service_host::time_slice::TimeSlice;
    use std::sync::Arc;

    #[tokio::test]
    async fn while_the_file_cannot_be_written_each_change_goes_to_the_fallback_file_when_it_is_due() {
        let directory = tempfile::tempdir().unwrap();
        let fallback = directory.path().join("fallback.state.json");
        let services = vec![Service::new(Name::new("work").unwrap())];
        let plan = Plan::compile(Config { services, ..Config::default() }).unwrap();
        let id = plan.ids().next().unwrap();
        let mut fleet = Fleet::new(Arc::new(plan), 0);
        let mut store = Store::open(&Paths {
            fallback_state_file: Some(fallback.clone()),
            boot_id: "this".to_owned(),
            ..Paths::new(directory.path())
        })
        .unwrap()
        .0;
        // Not even root can write a directory in place of the new file.
        std::fs::create_dir(directory.path().join("state.new")).unwrap();
        let mut slice = TimeSlice::new(Arc::default());
        let began = clock::now();
        let states = [
            (State::Launching { since: began }, began),
            (State::Completed { at: began, exit: Exit::Code(0) }, began.plus(COLLECT_DELAY)),
        ];
        for (state, due) in states {
            let before = fleet.snapshot(id);
            let memory = PersistedState { run: 1, state: state.clone(), ..PersistedState::default() };
            let running = Discovered::Running { run: 1, launched: began };
            let found = if state.is_alive() { running } else { Discovered::Absent };
            fleet.restore(id, memory, found, began);
            store.changed(&before, &fleet.snapshot(id), began);
            store.write_if_due(&fleet, 0, due, &mut slice).await;
            let saved = disk::peek(&fallback, parse).unwrap().change.services;
            assert_eq!(saved.values().next().unwrap().state, state);
        }
        assert!(!directory.path().join("state.json").exists());
    }
}
