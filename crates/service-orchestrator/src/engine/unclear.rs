//! Services in an unknown state, because their files cannot be read. The services are examined again until their states
//! are known. Until then the services are neither started nor stopped.

use super::message::EngineCommand;
use super::recovery;
use super::run_trace::RunTrace;
use super::task::Engine;
use crate::lookup::state_unknown;
use crate::request::Verb;
use service_api::Problem;
use service_core::explain::help_for_unknown;
use service_core::service::PersistedState;
use service_core::{Id, Moment, Name};
use service_host::paths::Paths;
use service_process as process;
use service_process::shims_without_files::Lost;
use service_store::RunDefinitions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The delay before the second examination. The delay doubles up to the maximum.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// The pending examinations.
pub(super) struct Unclear {
    /// The services, with the reasons.
    services: BTreeMap<Name, String>,
    /// Whether the names of the services cannot be read.
    unlisted: bool,
    /// Whether shims without files may exist.
    unsearched: bool,
    memories: BTreeMap<Name, PersistedState>,
    began: Moment,
}

impl Unclear {
    /// The examinations to repeat after the first one.
    pub(super) fn new(
        runs: &BTreeMap<Name, RunTrace>,
        [unlisted, unsearched]: [bool; 2],
        memories: &BTreeMap<Name, PersistedState>,
        began: Moment,
    ) -> Self {
        let unclear =
            |(name, trace): (&Name, &RunTrace)| Some((name.clone(), trace.unclear_reason()?.to_owned()));
        let services: BTreeMap<Name, String> = runs.iter().filter_map(unclear).collect();
        let is_unclear = |(name, _): &(&Name, &PersistedState)| services.contains_key(*name);
        let of_these = memories.iter().filter(is_unclear);
        let memories = of_these.map(|(name, memory)| (name.clone(), memory.clone())).collect();
        Self { services, unlisted, unsearched, memories, began }
    }

    /// Repeats the examinations until all states are known, and reports each result to the engine.
    pub(super) async fn find_out(
        mut self,
        paths: Arc<Paths>,
        definitions: Arc<RunDefinitions>,
        commands: UnboundedSender<EngineCommand>,
    ) {
        let mut pause = RETRY_DELAY;
        while (self.unlisted || self.unsearched || !self.services.is_empty()) && !commands.is_closed() {
            tokio::time::sleep(pause).await;
            pause = MAX_RETRY_DELAY.min(pause * 2);
            for (name, trace) in self.inspect(&paths, &definitions).await {
                let why = trace.unclear_reason().map(str::to_owned);
                let is_news = why.is_none() || self.services.get(&name) != why.as_ref();
                match why {
                    Some(why) => self.services.insert(name.clone(), why),
                    None => self.services.remove(&name),
                };
                if is_news {
                    // After the end of the engine, the result is not needed.
                    let _ = commands.send(EngineCommand::Reexamined { name, trace: Box::new(trace) });
                }
            }
        }
    }

    async fn inspect(
        &mut self,
        paths: &Arc<Paths>,
        definitions: &Arc<RunDefinitions>,
    ) -> BTreeMap<Name, RunTrace> {
        let mut names: BTreeSet<Name> = self.services.keys().cloned().collect();
        if self.unlisted {
            match recovery::names(paths) {
                Ok(listed) => names.extend(listed),
                Err(why) => {
                    return names
                        .into_iter()
                        .map(|name| (name, RunTrace::unclear(&why.to_string())))
                        .collect();
                }
            }
            self.unlisted = false;
        }
        let mut lost = match self.unsearched || !names.is_empty() {
            true => process::shims_without_files::search(paths).await,
            false => Lost::default(),
        };
        if !self.unsearched {
            lost.records.retain(|name, _| names.contains(name));
        }
        self.unsearched = lost.unsearched.is_some();
        names.retain(|name| !lost.records.contains_key(name));
        let unsearched = lost.unsearched.as_deref();
        let mut traces =
            recovery::traces(paths, definitions, names, &self.memories, self.began, unsearched).await;
        traces.extend(recovery::traces_of_lost(paths, lost.records).await);
        traces
    }
}

impl Engine {
    /// Refuses a request that would stop a service in an unknown state, or wait for one, before any service is stopped.
    pub(super) fn refuse_unclear(&self, verb: Verb, ids: &[Id]) -> Result<(), Problem> {
        if verb != Verb::Restart && verb != Verb::Update {
            return Ok(());
        }
        let going_down = self.fleet.plan().with_dependents(ids);
        let up = |id: &Id| ids.contains(id) || self.fleet.machine(*id).state().is_alive();
        let going_down: Vec<Id> = going_down.into_iter().filter(up).collect();
        match self.first_unclear(&self.fleet.plan().with_dependencies(&going_down)) {
            Some((name, why)) => {
                let mut named = ids.iter().map(|id| &self.fleet.machine(*id).definition().name);
                Err(match named.clone().find(|named| *named == name).or(named.next()) {
                    Some(named) if named != name => {
                        let why = format!("`{name}`, which blocks it, is unknown: {why}");
                        Problem {
                            help: Some(help_for_unknown(name)),
                            ..state_unknown(verb.as_str(), named, &why)
                        }
                    }
                    _ => state_unknown(verb.as_str(), name, why),
                })
            }
            None => Ok(()),
        }
    }

    pub(super) fn is_unclear(&self, id: Id) -> bool {
        self.fleet.machine(id).state().unknown_because().is_some()
    }

    /// The first of these services in an unknown state, with the reason.
    pub(super) fn first_unclear(&self, ids: &[Id]) -> Option<(&Name, &str)> {
        ids.iter().find_map(|id| {
            let machine = self.fleet.machine(*id);
            Some((&machine.definition().name, machine.state().unknown_because()?))
        })
    }
}
