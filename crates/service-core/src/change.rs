//! The effect of a changed configuration on running services: the keys that differ, and whether a service must be
//! restarted or can continue under its new definition.

use crate::config::{Backoff, Container, Dependency, Health, Log, Ready, Service};
use crate::name::Name;
use crate::plan::{Id, Plan};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The change of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The service is new, or a running service has a new dependency on it.
    Add,
    /// The service is no longer defined, and is stopped.
    Remove,
    /// The service is restarted.
    Restart,
    /// The service continues under its new definition.
    Update,
    /// The service does not change.
    None,
}

impl ChangeKind {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Restart => "restart",
            Self::Update => "update",
            Self::None => "none",
        }
    }
}

/// The change of one service, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The service.
    pub name: Name,
    /// The kind of change.
    pub kind: ChangeKind,
    /// Whether a running service depends on it.
    pub needed: bool,
    /// The keys that differ.
    pub keys: Vec<&'static str>,
    /// The running dependents, which are restarted with it, in start order.
    pub affects: Vec<Name>,
}

/// When a changed key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyMode {
    /// At once, or at its next use.
    Live,
    /// At the next start of the service, because the process has received the old value.
    NeedsRestart,
}

/// The services that run or have goal up, each with the definition of its last run.
pub type RunningDefinitions = BTreeMap<Name, Arc<Service>>;

/// Compares running and defined services. Returns the defined services in start order, then the removed ones,
/// dependents first. `known` are the services that are not new.
pub fn compare(present: &RunningDefinitions, known: &BTreeSet<Name>, next: &Plan) -> Vec<Change> {
    let up: Vec<Id> = present.keys().filter_map(|name| next.id(name)).collect();
    let needed = mask(&next.with_dependencies(&up), next);
    let up = mask(&up, next);
    let defined = next.order().iter().map(|id| {
        let service = next.service(*id);
        let is_needed = needed[id.index()];
        let (kind, keys) = match present.get(&service.name) {
            Some(old) => classify(&changed_keys(old, service)),
            None if is_needed || !known.contains(&service.name) => (ChangeKind::Add, Vec::new()),
            None => (ChangeKind::None, Vec::new()),
        };
        let affects = if kind == ChangeKind::Restart { dependents(*id, &up, next) } else { Vec::new() };
        Change { name: service.name.clone(), kind, needed: is_needed, keys, affects }
    });
    defined.chain(removed(present, next)).collect()
}

fn classify(differing: &[(&'static str, ApplyMode)]) -> (ChangeKind, Vec<&'static str>) {
    let kind = if differing.iter().any(|(_, effect)| *effect == ApplyMode::NeedsRestart) {
        ChangeKind::Restart
    } else if differing.is_empty() {
        ChangeKind::None
    } else {
        ChangeKind::Update
    };
    (kind, differing.iter().map(|(key, _)| *key).collect())
}

/// For each service, whether `ids` contains it.
fn mask(ids: &[Id], plan: &Plan) -> Vec<bool> {
    let mut mask = alloc::vec![false; plan.len()];
    for id in ids {
        mask[id.index()] = true;
    }
    mask
}

/// The running dependents.
fn dependents(id: Id, up: &[bool], next: &Plan) -> Vec<Name> {
    let all = next.with_dependents(&[id]).into_iter().filter(|dependent| *dependent != id);
    all.filter(|id| up[id.index()]).map(|id| next.service(id).name.clone()).collect()
}

/// The removed services, each before its dependencies, otherwise by name.
fn removed(present: &RunningDefinitions, next: &Plan) -> Vec<Change> {
    let mut left: BTreeMap<&Name, &Service> = present
        .iter()
        .filter(|(name, _)| next.id(name).is_none())
        .map(|(name, old)| (name, &**old))
        .collect();
    // The number of remaining dependents of each service.
    let mut needed_by: BTreeMap<&Name, usize> = left.keys().map(|name| (*name, 0)).collect();
    for need in left.values().flat_map(|service| needs(service)) {
        needed_by.entry(need).and_modify(|count| *count += 1);
    }
    let mut free: BTreeSet<&Name> = left.keys().copied().filter(|name| needed_by[name] == 0).collect();
    let mut changes = Vec::new();
    // Definitions from different times may form a dependency cycle, which is broken at any service.
    while let Some(name) = free.pop_first().or_else(|| left.keys().next().copied()) {
        for need in left.remove(name).into_iter().flat_map(needs) {
            let Some(count) = needed_by.get_mut(need) else { continue };
            *count -= 1;
            if let (0, Some((need, _))) = (*count, left.get_key_value(need)) {
                free.insert(need);
            }
        }
        let (keys, affects) = Default::default();
        changes.push(Change { name: name.clone(), kind: ChangeKind::Remove, needed: false, keys, affects });
    }
    changes
}

/// The names of a service's dependencies, without the service itself.
fn needs(service: &Service) -> impl Iterator<Item = &Name> {
    service.dependencies.iter().map(|need| &need.name).filter(|name| **name != service.name)
}

/// The keys in which two definitions of a service differ, as written in the file.
pub fn changed_keys(old: &Service, new: &Service) -> Vec<(&'static str, ApplyMode)> {
    use ApplyMode::{Live, NeedsRestart};
    // The patterns name every field, so that a new field is a compile error here.
    let Service {
        name: _,
        span: _,
        origin: _,
        description,
        manager,
        start_command,
        container,
        stop_command,
        status_command,
        with,
        dependencies,
        endpoint,
        working_dir,
        env,
        env_file,
        user,
        group,
        oneshot,
        auto,
        restart,
        stop_signal,
        kill_mode,
        stop_timeout,
        health,
        ready,
        backoff,
        log,
        limits,
        environment,
    } = old;
    let keys = [
        ("manager", NeedsRestart, *manager == new.manager),
        ("start_command", NeedsRestart, *start_command == new.start_command),
        ("with", NeedsRestart, *with == new.with),
        ("working_dir", NeedsRestart, *working_dir == new.working_dir),
        ("env", NeedsRestart, *env == new.env),
        ("env_file", NeedsRestart, *env_file == new.env_file),
        ("user", NeedsRestart, *user == new.user),
        ("group", NeedsRestart, *group == new.group),
        ("env_clear", NeedsRestart, environment.env_clear == new.environment.env_clear),
        ("pass_env", NeedsRestart, environment.pass_env == new.environment.pass_env),
        ("no_new_privileges", NeedsRestart, old.has_no_new_privileges() == new.has_no_new_privileges()),
        ("memory_limit", NeedsRestart, limits.memory == new.limits.memory),
        ("cpu_limit", NeedsRestart, limits.cpu == new.limits.cpu),
        ("oneshot", NeedsRestart, *oneshot == new.oneshot),
        // Only shells use `auto`.
        ("auto", Live, *auto == new.auto),
        ("description", Live, *description == new.description),
        ("stop_command", Live, *stop_command == new.stop_command),
        ("status_command", Live, *status_command == new.status_command),
        ("dependencies", Live, edges(dependencies).eq(edges(&new.dependencies))),
        ("health_check_endpoint", Live, *endpoint == new.endpoint),
        ("restart", Live, *restart == new.restart),
        ("stop_signal", Live, *stop_signal == new.stop_signal),
        ("kill_mode", Live, *kill_mode == new.kill_mode),
        ("stop_timeout", Live, *stop_timeout == new.stop_timeout),
    ];
    let tables = health_keys(health, &new.health)
        .into_iter()
        .chain(container_keys(container.as_ref(), new.container.as_ref()))
        .chain(ready_keys(ready, &new.ready))
        .chain(backoff_keys(backoff, &new.backoff))
        .chain(log_keys(log, &new.log));
    let all = keys.into_iter().chain(tables);
    all.filter(|(_, _, same)| !same).map(|(key, effect, _)| (key, effect)).collect()
}

type ComparedKey = (&'static str, ApplyMode, bool);

fn edges(dependencies: &[Dependency]) -> impl Iterator<Item = (&Name, u8, u8)> {
    dependencies.iter().map(|need| (&need.name, need.condition as u8, need.when_lost as u8))
}

fn container_keys(old: Option<&Container>, new: Option<&Container>) -> [ComparedKey; 5] {
    let none = Container::default();
    let Container { image, pull, ports, volumes, networks } = old.unwrap_or(&none);
    let new = new.unwrap_or(&none);
    [
        ("image", ApplyMode::NeedsRestart, *image == new.image),
        // A running container already has its image.
        ("pull", ApplyMode::Live, *pull == new.pull),
        ("ports", ApplyMode::NeedsRestart, *ports == new.ports),
        ("volumes", ApplyMode::NeedsRestart, *volumes == new.volumes),
        ("networks", ApplyMode::NeedsRestart, *networks == new.networks),
    ]
}

fn health_keys(old: &Health, new: &Health) -> [ComparedKey; 9] {
    let Health { interval, timeout, retries, start_period, status, on_failure, listener, ca_file, insecure } =
        old;
    [
        ("health.interval", ApplyMode::Live, *interval == new.interval),
        ("health.timeout", ApplyMode::Live, *timeout == new.timeout),
        ("health.retries", ApplyMode::Live, *retries == new.retries),
        ("health.start_period", ApplyMode::Live, *start_period == new.start_period),
        ("health.status", ApplyMode::Live, *status == new.status),
        ("health.on_failure", ApplyMode::Live, *on_failure == new.on_failure),
        ("health.listener", ApplyMode::Live, *listener == new.listener),
        ("health.ca_file", ApplyMode::Live, *ca_file == new.ca_file),
        ("health.insecure", ApplyMode::Live, *insecure == new.insecure),
    ]
}

fn ready_keys(old: &Ready, new: &Ready) -> [ComparedKey; 4] {
    let Ready { log, notify, timeout, delay } = old;
    [
        ("ready.log", ApplyMode::Live, *log == new.log),
        // The notify socket is created at the start.
        ("ready.notify", ApplyMode::NeedsRestart, *notify == new.notify),
        ("ready.timeout", ApplyMode::Live, *timeout == new.timeout),
        ("ready.delay", ApplyMode::Live, *delay == new.delay),
    ]
}

fn backoff_keys(old: &Backoff, new: &Backoff) -> [ComparedKey; 6] {
    let Backoff { initial, factor, max, reset_after, limit, window } = old;
    [
        ("backoff.initial", ApplyMode::Live, *initial == new.initial),
        ("backoff.factor", ApplyMode::Live, factor.to_bits() == new.factor.to_bits()),
        ("backoff.max", ApplyMode::Live, *max == new.max),
        ("backoff.reset_after", ApplyMode::Live, *reset_after == new.reset_after),
        ("backoff.limit", ApplyMode::Live, *limit == new.limit),
        ("backoff.window", ApplyMode::Live, *window == new.window),
    ]
}

/// The keys of the log. The shim receives them at the start, but a change does not cause a restart.
fn log_keys(old: &Log, new: &Log) -> [ComparedKey; 2] {
    let Log { max_size, max_files } = old;
    [
        ("log.max_size", ApplyMode::Live, *max_size == new.max_size),
        ("log.max_files", ApplyMode::Live, *max_files == new.max_files),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::config::{Condition, Settings, Span, WhenLost};
    use alloc::string::ToString;

    fn service(name: &str, needs: &[&str]) -> Service {
        let mut service = Service::new(Name::new(name).unwrap());
        service.dependencies = needs
            .iter()
            .map(|need| Dependency {
                name: Name::new(need).unwrap(),
                span: Span::default(),
                condition: Condition::default(),
                when_lost: WhenLost::default(),
            })
            .collect();
        service
    }

    fn plan(services: &[Service]) -> Plan {
        Plan::compile(Config { settings: Settings::default(), services: services.to_vec() }).unwrap()
    }

    fn present(services: &[Service]) -> RunningDefinitions {
        services.iter().map(|service| (service.name.clone(), Arc::new(service.clone()))).collect()
    }

    fn changes(
        before: &[Service],
        known: &[&str],
        after: &[Service],
    ) -> Vec<(alloc::string::String, ChangeKind)> {
        let known = known.iter().map(|name| Name::new(name).unwrap()).collect();
        let changes = compare(&present(before), &known, &plan(after));
        changes.into_iter().map(|change| (change.name.to_string(), change.kind)).collect()
    }

    fn pair(name: &str, kind: ChangeKind) -> (alloc::string::String, ChangeKind) {
        (name.to_string(), kind)
    }

    #[test]
    fn what_a_process_was_given_needs_a_restart_and_what_only_we_look_at_does_not() {
        let old = service("a", &[]);
        let mut new = old.clone();
        new.health.interval *= 2;
        new.description = "x".to_string();
        assert_eq!(
            classify(&changed_keys(&old, &new)),
            (ChangeKind::Update, alloc::vec!["description", "health.interval"])
        );
        new.env.push(("A".to_string(), "1".to_string()));
        let (kind, keys) = classify(&changed_keys(&old, &new));
        assert_eq!((kind, keys[0]), (ChangeKind::Restart, "env"));
    }

    #[test]
    fn where_it_stands_in_the_file_is_no_difference() {
        let old = service("a", &["b"]);
        let mut new = old.clone();
        new.span.start = 7;
        new.dependencies[0].span.end = 9;
        assert_eq!(changed_keys(&old, &new), []);
    }

    #[test]
    fn a_restart_affects_the_dependents_that_are_up() {
        let before = [service("a", &[]), service("b", &["a"])];
        let mut after = [before[0].clone(), before[1].clone(), service("c", &["b"])];
        after[0].oneshot = true;
        let changes = compare(&present(&before), &BTreeSet::new(), &plan(&after));
        assert_eq!(changes[0].kind, ChangeKind::Restart);
        assert_eq!(changes[0].affects, [before[1].name.clone()]);
    }

    #[test]
    fn what_is_new_or_newly_needed_is_added_and_what_rests_is_left_alone() {
        let before = [service("a", &[])];
        let after = [service("a", &["old"]), service("old", &[]), service("idle", &[]), service("new", &[])];
        assert_eq!(
            changes(&before, &["a", "old", "idle"], &after),
            [
                pair("old", ChangeKind::Add),
                pair("idle", ChangeKind::None),
                pair("new", ChangeKind::Add),
                pair("a", ChangeKind::Update)
            ]
        );
    }

    #[test]
    fn what_is_removed_goes_before_what_it_needed() {
        let before = [service("a", &[]), service("b", &["a"]), service("c", &["b"])];
        let removed =
            [pair("c", ChangeKind::Remove), pair("b", ChangeKind::Remove), pair("a", ChangeKind::Remove)];
        assert_eq!(changes(&before, &[], &[]), removed);
        let cycle = [service("a", &["b"]), service("b", &["a"])];
        assert_eq!(changes(&cycle, &[], &[]).len(), 2);
    }
}
