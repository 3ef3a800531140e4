//! Invariants of configuration changes, over random pairs of configurations.

use crate::laws::{graph, histories};
use proptest::prelude::*;
use service_core::change::{Change, ChangeKind, RunningDefinitions, changed_keys, compare};
use service_core::config::{Config, Service, Settings};
use service_core::{Name, Plan};
use std::collections::BTreeSet;
use std::sync::Arc;

fn plan(services: &[Service]) -> Plan {
    Plan::compile(Config { settings: Settings::default(), services: services.to_vec() }).unwrap()
}

/// The services whose bit is set.
fn some(services: &[Service], which: u8) -> RunningDefinitions {
    let chosen = services.iter().enumerate().filter(|(number, _)| which & (1 << number) != 0);
    chosen.map(|(_, service)| (service.name.clone(), Arc::new(service.clone()))).collect()
}

/// The running services after the changes.
fn made(present: &RunningDefinitions, changes: &[Change], next: &Plan) -> RunningDefinitions {
    let mut after = present.clone();
    for change in changes {
        let runs = change.kind != ChangeKind::Remove && (change.needed || after.contains_key(&change.name));
        match next.id(&change.name).filter(|_| runs) {
            Some(id) => after.insert(change.name.clone(), Arc::clone(next.service(id))),
            None => after.remove(&change.name),
        };
    }
    after
}

proptest! {
    #![proptest_config(histories(2_000))]

    #[test]
    fn what_was_changed_as_planned_needs_no_change(
        before in graph(),
        after in graph(),
        up in any::<u8>(),
    ) {
        let (present, next) = (some(&before, up), plan(&after));
        let known: BTreeSet<Name> = after.iter().map(|service| service.name.clone()).collect();
        let changes = compare(&present, &known, &next);
        let about: BTreeSet<&Name> = changes.iter().map(|change| &change.name).collect();
        prop_assert_eq!(about.len(), changes.len(), "one row for each service");
        prop_assert!(present.keys().chain(&known).all(|name| about.contains(name)), "no service is left out");
        let again = compare(&made(&present, &changes, &next), &known, &next);
        prop_assert!(again.iter().all(|change| change.kind == ChangeKind::None), "{again:?}");
    }

    #[test]
    fn a_restart_affects_only_what_is_up_and_above_it(before in graph(), after in graph(), up in any::<u8>()) {
        let (present, next) = (some(&before, up), plan(&after));
        for change in compare(&present, &BTreeSet::new(), &next) {
            let above = next.id(&change.name).map(|id| next.with_dependents(&[id])).unwrap_or_default();
            let above: Vec<&Name> = above.iter().map(|id| &next.service(*id).name).collect();
            prop_assert!(change.affects.iter().all(|name| present.contains_key(name) && above.contains(&name)));
            prop_assert!(change.kind == ChangeKind::Restart || change.affects.is_empty());
        }
    }

    #[test]
    fn two_definitions_differ_in_the_same_keys_whichever_is_the_older(one in graph(), other in graph()) {
        let (one, other) = (&one[0], &other[0]);
        prop_assert_eq!(changed_keys(one, other), changed_keys(other, one));
        prop_assert_eq!(changed_keys(one, one), []);
    }
}
