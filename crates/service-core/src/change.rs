//! What a changed configuration asks of what runs: which keys differ, and whether a service must be started anew for
//! them, or can go on under its new definition.

use crate::config::{Backoff, Container, Dependency, Health, Log, Ready, Service};
use crate::name::Name;
use crate::plan::{Id, Plan};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What would be done with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is new, or newly needed by something that is up.
    Add,
    /// It is no longer defined: it is stopped.
    Remove,
    /// It is started anew.
    Restart,
    /// It goes on under its new definition.
    Update,
    /// Nothing.
    None,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Restart => "restart",
            Self::Update => "update",
            Self::None => "none",
        }
    }
}

/// What would be done with one service, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The service.
    pub name: Name,
    /// What would be done.
    pub kind: Kind,
    /// Whether something that is up needs it.
    pub needed: bool,
    /// The keys that differ.
    pub keys: Vec<&'static str>,
    /// The dependents that are up and would be started anew along with it, in start order.
    pub affects: Vec<Name>,
}

/// When a key that differs takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// At once, or the next time it is looked at.
    UnderWay,
    /// When the service is started: it was handed to the process.
    AtStart,
}

/// The services that are up or meant to be, each with the definition of its last run.
pub type Present = BTreeMap<Name, Arc<Service>>;

/// Compares what runs with what is defined: first what is defined, in start order, then what is not any more, dependents
/// first. `known` are the services that are no news.
pub fn compare(present: &Present, known: &BTreeSet<Name>, next: &Plan) -> Vec<Change> {
    let up: Vec<Id> = present.keys().filter_map(|name| next.id(name)).collect();
    let needed = marks(&next.with_dependencies(&up), next);
    let up = marks(&up, next);
    let defined = next.order().iter().map(|id| {
        let service = next.service(*id);
        let is_needed = needed[id.index()];
        let (kind, keys) = match present.get(&service.name) {
            Some(old) => judge(&differing(old, service)),
            None if is_needed || !known.contains(&service.name) => (Kind::Add, Vec::new()),
            None => (Kind::None, Vec::new()),
        };
        let affects = if kind == Kind::Restart { dependents(*id, &up, next) } else { Vec::new() };
        Change { name: service.name.clone(), kind, needed: is_needed, keys, affects }
    });
    defined.chain(removed(present, next)).collect()
}

fn judge(differing: &[(&'static str, Effect)]) -> (Kind, Vec<&'static str>) {
    let kind = if differing.iter().any(|(_, effect)| *effect == Effect::AtStart) {
        Kind::Restart
    } else if differing.is_empty() {
        Kind::None
    } else {
        Kind::Update
    };
    (kind, differing.iter().map(|(key, _)| *key).collect())
}

/// For each service, whether it is among these.
fn marks(ids: &[Id], plan: &Plan) -> Vec<bool> {
    let mut marks = alloc::vec![false; plan.len()];
    for id in ids {
        marks[id.index()] = true;
    }
    marks
}

/// Those that are up.
fn dependents(id: Id, up: &[bool], next: &Plan) -> Vec<Name> {
    let all = next.with_dependents(&[id]).into_iter().filter(|dependent| *dependent != id);
    all.filter(|id| up[id.index()]).map(|id| next.service(id).name.clone()).collect()
}

/// What is no longer defined, each before all that it needed; by name where that leaves a choice.
fn removed(present: &Present, next: &Plan) -> Vec<Change> {
    let mut left: BTreeMap<&Name, &Service> = present
        .iter()
        .filter(|(name, _)| next.id(name).is_none())
        .map(|(name, old)| (name, &**old))
        .collect();
    // How many of those that are left need each of them.
    let mut needed_by: BTreeMap<&Name, usize> = left.keys().map(|name| (*name, 0)).collect();
    for need in left.values().flat_map(|service| needs(service)) {
        needed_by.entry(need).and_modify(|count| *count += 1);
    }
    let mut free: BTreeSet<&Name> = left.keys().copied().filter(|name| needed_by[name] == 0).collect();
    let mut changes = Vec::new();
    // Definitions of different times may need each other in a circle; then any is as good as another.
    while let Some(name) = free.pop_first().or_else(|| left.keys().next().copied()) {
        for need in left.remove(name).into_iter().flat_map(needs) {
            let Some(count) = needed_by.get_mut(need) else { continue };
            *count -= 1;
            if let (0, Some((need, _))) = (*count, left.get_key_value(need)) {
                free.insert(need);
            }
        }
        let (keys, affects) = Default::default();
        changes.push(Change { name: name.clone(), kind: Kind::Remove, needed: false, keys, affects });
    }
    changes
}

/// The names of what a service needs, apart from itself.
fn needs(service: &Service) -> impl Iterator<Item = &Name> {
    service.dependencies.iter().map(|need| &need.name).filter(|name| **name != service.name)
}

/// The keys in which two definitions of a service differ, as they stand in the file.
pub fn differing(old: &Service, new: &Service) -> Vec<(&'static str, Effect)> {
    use Effect::{AtStart, UnderWay};
    // Taken apart in full, so that a new key is noticed here.
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
        surroundings,
    } = old;
    let keys = [
        ("manager", AtStart, *manager == new.manager),
        ("start_command", AtStart, *start_command == new.start_command),
        ("with", AtStart, *with == new.with),
        ("working_dir", AtStart, *working_dir == new.working_dir),
        ("env", AtStart, *env == new.env),
        ("env_file", AtStart, *env_file == new.env_file),
        ("user", AtStart, *user == new.user),
        ("group", AtStart, *group == new.group),
        ("env_clear", AtStart, surroundings.env_clear == new.surroundings.env_clear),
        ("pass_env", AtStart, surroundings.pass_env == new.surroundings.pass_env),
        ("no_new_privileges", AtStart, old.has_no_new_privileges() == new.has_no_new_privileges()),
        ("memory_limit", AtStart, limits.memory == new.limits.memory),
        ("cpu_limit", AtStart, limits.cpu == new.limits.cpu),
        ("oneshot", AtStart, *oneshot == new.oneshot),
        // Asked of it by shells, not by us.
        ("auto", UnderWay, *auto == new.auto),
        ("description", UnderWay, *description == new.description),
        ("stop_command", UnderWay, *stop_command == new.stop_command),
        ("status_command", UnderWay, *status_command == new.status_command),
        ("dependencies", UnderWay, edges(dependencies).eq(edges(&new.dependencies))),
        ("health_check_endpoint", UnderWay, *endpoint == new.endpoint),
        ("restart", UnderWay, *restart == new.restart),
        ("stop_signal", UnderWay, *stop_signal == new.stop_signal),
        ("kill_mode", UnderWay, *kill_mode == new.kill_mode),
        ("stop_timeout", UnderWay, *stop_timeout == new.stop_timeout),
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

type Key = (&'static str, Effect, bool);

fn edges(dependencies: &[Dependency]) -> impl Iterator<Item = (&Name, u8, u8)> {
    dependencies.iter().map(|need| (&need.name, need.condition as u8, need.when_lost as u8))
}

fn container_keys(old: Option<&Container>, new: Option<&Container>) -> [Key; 5] {
    let none = Container::default();
    let Container { image, pull, ports, volumes, networks } = old.unwrap_or(&none);
    let new = new.unwrap_or(&none);
    [
        ("image", Effect::AtStart, *image == new.image),
        // What runs has its image.
        ("pull", Effect::UnderWay, *pull == new.pull),
        ("ports", Effect::AtStart, *ports == new.ports),
        ("volumes", Effect::AtStart, *volumes == new.volumes),
        ("networks", Effect::AtStart, *networks == new.networks),
    ]
}

fn health_keys(old: &Health, new: &Health) -> [Key; 9] {
    let Health { interval, timeout, retries, start_period, status, on_failure, listener, ca_file, insecure } =
        old;
    [
        ("health.interval", Effect::UnderWay, *interval == new.interval),
        ("health.timeout", Effect::UnderWay, *timeout == new.timeout),
        ("health.retries", Effect::UnderWay, *retries == new.retries),
        ("health.start_period", Effect::UnderWay, *start_period == new.start_period),
        ("health.status", Effect::UnderWay, *status == new.status),
        ("health.on_failure", Effect::UnderWay, *on_failure == new.on_failure),
        ("health.listener", Effect::UnderWay, *listener == new.listener),
        ("health.ca_file", Effect::UnderWay, *ca_file == new.ca_file),
        ("health.insecure", Effect::UnderWay, *insecure == new.insecure),
    ]
}

fn ready_keys(old: &Ready, new: &Ready) -> [Key; 4] {
    let Ready { log, notify, timeout, delay } = old;
    [
        ("ready.log", Effect::UnderWay, *log == new.log),
        // The socket for it is made at the start.
        ("ready.notify", Effect::AtStart, *notify == new.notify),
        ("ready.timeout", Effect::UnderWay, *timeout == new.timeout),
        ("ready.delay", Effect::UnderWay, *delay == new.delay),
    ]
}

fn backoff_keys(old: &Backoff, new: &Backoff) -> [Key; 6] {
    let Backoff { initial, factor, max, reset_after, limit, window } = old;
    [
        ("backoff.initial", Effect::UnderWay, *initial == new.initial),
        ("backoff.factor", Effect::UnderWay, factor.to_bits() == new.factor.to_bits()),
        ("backoff.max", Effect::UnderWay, *max == new.max),
        ("backoff.reset_after", Effect::UnderWay, *reset_after == new.reset_after),
        ("backoff.limit", Effect::UnderWay, *limit == new.limit),
        ("backoff.window", Effect::UnderWay, *window == new.window),
    ]
}

/// The log is the shim's, which learns its limits at the start; nobody wants a service restarted for them.
fn log_keys(old: &Log, new: &Log) -> [Key; 2] {
    let Log { max_size, max_files } = old;
    [
        ("log.max_size", Effect::UnderWay, *max_size == new.max_size),
        ("log.max_files", Effect::UnderWay, *max_files == new.max_files),
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

    fn present(services: &[Service]) -> Present {
        services.iter().map(|service| (service.name.clone(), Arc::new(service.clone()))).collect()
    }

    fn changes(before: &[Service], known: &[&str], after: &[Service]) -> Vec<(alloc::string::String, Kind)> {
        let known = known.iter().map(|name| Name::new(name).unwrap()).collect();
        let changes = compare(&present(before), &known, &plan(after));
        changes.into_iter().map(|change| (change.name.to_string(), change.kind)).collect()
    }

    fn pair(name: &str, kind: Kind) -> (alloc::string::String, Kind) {
        (name.to_string(), kind)
    }

    #[test]
    fn what_a_process_was_given_needs_a_restart_and_what_only_we_look_at_does_not() {
        let old = service("a", &[]);
        let mut new = old.clone();
        new.health.interval *= 2;
        new.description = "x".to_string();
        assert_eq!(
            judge(&differing(&old, &new)),
            (Kind::Update, alloc::vec!["description", "health.interval"])
        );
        new.env.push(("A".to_string(), "1".to_string()));
        let (kind, keys) = judge(&differing(&old, &new));
        assert_eq!((kind, keys[0]), (Kind::Restart, "env"));
    }

    #[test]
    fn where_it_stands_in_the_file_is_no_difference() {
        let old = service("a", &["b"]);
        let mut new = old.clone();
        new.span.start = 7;
        new.dependencies[0].span.end = 9;
        assert_eq!(differing(&old, &new), []);
    }

    #[test]
    fn a_restart_affects_the_dependents_that_are_up() {
        let before = [service("a", &[]), service("b", &["a"])];
        let mut after = [before[0].clone(), before[1].clone(), service("c", &["b"])];
        after[0].oneshot = true;
        let changes = compare(&present(&before), &BTreeSet::new(), &plan(&after));
        assert_eq!(changes[0].kind, Kind::Restart);
        assert_eq!(changes[0].affects, [before[1].name.clone()]);
    }

    #[test]
    fn what_is_new_or_newly_needed_is_added_and_what_rests_is_left_alone() {
        let before = [service("a", &[])];
        let after = [service("a", &["old"]), service("old", &[]), service("idle", &[]), service("new", &[])];
        assert_eq!(
            changes(&before, &["a", "old", "idle"], &after),
            [
                pair("old", Kind::Add),
                pair("idle", Kind::None),
                pair("new", Kind::Add),
                pair("a", Kind::Update)
            ]
        );
    }

    #[test]
    fn what_is_removed_goes_before_what_it_needed() {
        let before = [service("a", &[]), service("b", &["a"]), service("c", &["b"])];
        let removed = [pair("c", Kind::Remove), pair("b", Kind::Remove), pair("a", Kind::Remove)];
        assert_eq!(changes(&before, &[], &[]), removed);
        let circle = [service("a", &["b"]), service("b", &["a"])];
        assert_eq!(changes(&circle, &[], &[]).len(), 2);
    }
}
