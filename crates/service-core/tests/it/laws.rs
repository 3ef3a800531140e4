//! Invariants over random graphs and random histories. The world asserts the invariants of every step; this file
//! asserts the invariants of the end.

use super::world::{Manners, World, service};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use service_core::Name;
use service_core::change::{ApplyMode, changed_keys};
use service_core::config::{Condition, Dependency, Restart, Service, Span, WhenLost};
use service_core::fleet::Propagate;
use service_core::health::Endpoint;
use service_core::service::{Exit, Goal, State};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Act {
    Start(Index, Propagate),
    Stop(Index, Propagate),
    Restart(Index, Propagate),
    Crash(Index),
    Behave(Index, Manners),
    Pass(Duration),
    ChangeDaemon { remembers: bool, absent: Duration, blind_for: Option<Index> },
    See,
    Replan(Vec<Service>),
}

fn relatives() -> impl Strategy<Value = Propagate> {
    prop_oneof![Just(Propagate::Yes), Just(Propagate::No)]
}

fn manners() -> impl Strategy<Value = Manners> {
    let exit = prop_oneof![Just(Exit::Code(0)), Just(Exit::Code(1)), Just(Exit::Signal(9))];
    let lives = proptest::option::of((1u64..3_000, exit))
        .prop_map(|life| life.map(|(millis, exit)| (Duration::from_millis(millis), exit)));
    (0u64..500, lives, any::<bool>(), proptest::bool::weighted(0.1), proptest::bool::weighted(0.2)).prop_map(
        |(boots, lives_for, ignores_term, refuses, sick)| Manners {
            boots_in: Duration::from_millis(boots),
            lives_for,
            ignores_term,
            refuses,
            sick,
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    let who = any::<Index>;
    prop_oneof![
        3 => (who(), relatives()).prop_map(|(who, relatives)| Act::Start(who, relatives)),
        2 => (who(), relatives()).prop_map(|(who, relatives)| Act::Stop(who, relatives)),
        2 => (who(), relatives()).prop_map(|(who, relatives)| Act::Restart(who, relatives)),
        3 => who().prop_map(Act::Crash),
        2 => (who(), manners()).prop_map(|(who, manners)| Act::Behave(who, manners)),
        6 => (0u64..20_000).prop_map(|millis| Act::Pass(Duration::from_millis(millis))),
        2 => (any::<bool>(), prop_oneof![Just(0u64), 0u64..5_000], proptest::option::of(who())).prop_map(
            |(remembers, millis, blind_for)| {
                Act::ChangeDaemon { remembers, absent: Duration::from_millis(millis), blind_for }
            }
        ),
        1 => Just(Act::See),
        1 => graph().prop_map(Act::Replan),
    ]
}

type Edge = (Index, usize, usize);

/// A service that may depend on any of the services before it, so that there is no cycle.
fn definition(number: usize, traits: &(usize, u8, Vec<Edge>)) -> Service {
    let (restart, kind, edges) = traits;
    let mut definition = service(&format!("s{number}"));
    definition.restart = Restart::ALL[*restart].1;
    definition.oneshot = *kind == 0;
    // The endpoint varies, so that a change of plans may change a health check.
    definition.endpoint = (*kind > 2).then(|| Endpoint::Tcp(format!("localhost:{}", kind % 2 + 1)));
    definition.ready.notify = *kind == 2;
    if number > 0 {
        definition.dependencies = edges
            .iter()
            .map(|(on, condition, when_lost)| Dependency {
                name: Name::new(&format!("s{}", on.index(number))).unwrap(),
                span: Span::default(),
                condition: Condition::ALL[*condition].1,
                when_lost: WhenLost::ALL[*when_lost].1,
            })
            .collect();
    }
    definition
}

pub(crate) fn graph() -> impl Strategy<Value = Vec<Service>> {
    let edge = (any::<Index>(), 0..Condition::ALL.len(), 0..WhenLost::ALL.len());
    let traits = (0..Restart::ALL.len(), 0u8..8, proptest::collection::vec(edge, 0..3));
    proptest::collection::vec(traits, 1..8).prop_map(|traits| {
        traits.iter().enumerate().map(|(number, traits)| definition(number, traits)).collect()
    })
}

fn perform(world: &mut World, act: Act) {
    let ids: Vec<_> = world.fleet.plan().ids().collect();
    let now = world.now;
    match act {
        Act::Start(who, relatives) => {
            // Like in the daemon, a service is started alone only if its dependencies are satisfied.
            let who = [*who.get(&ids)];
            if relatives == Propagate::Yes || world.fleet.missing_dependency(&who).is_none() {
                let about = world.fleet.start(&who, relatives, now);
                world.waiting.add(&world.fleet, Goal::Up, &about);
            }
        }
        Act::Stop(who, relatives) => {
            let about = world.fleet.stop(&[*who.get(&ids)], relatives, now);
            world.waiting.add(&world.fleet, Goal::Down, &about);
        }
        Act::Restart(who, relatives) => {
            let about = world.fleet.restart(&[*who.get(&ids)], relatives, now);
            world.waiting.add(&world.fleet, Goal::Restart, &about);
        }
        Act::Crash(who) => world.crash(*who.get(&ids)),
        Act::Behave(who, manners) => world.manners[who.index(ids.len())] = manners,
        Act::Pass(span) => world.pass(span),
        Act::ChangeDaemon { remembers, absent, blind_for } => {
            let dark = blind_for.map(|who| *who.get(&ids));
            world.change_daemon_that_sees(remembers, absent, |id| Some(id) != dark);
        }
        Act::See => world.see(),
        Act::Replan(services) => {
            world.replan(services);
            update(world);
        }
    }
    world.pass(Duration::ZERO);
}

/// Like an apply, updates a service whose changes are all live.
fn update(world: &mut World) {
    let plan = Arc::clone(world.fleet.plan());
    let goes_on = |id: &service_core::Id| {
        let keys = changed_keys(world.fleet.machine(*id).definition(), plan.service(*id));
        keys.iter().all(|(_, effect)| *effect == ApplyMode::Live)
    };
    let ids: Vec<_> = plan.ids().filter(goes_on).collect();
    world.fleet.update(&ids, world.now);
}

/// Whether every dependency of this service can be satisfied: none waits for the completion of a service that does not
/// end.
fn is_satisfiable(world: &World, id: service_core::Id) -> bool {
    world.fleet.plan().with_dependencies(&[id]).iter().all(|id| {
        world
            .fleet
            .plan()
            .dependencies(*id)
            .iter()
            .all(|need| need.condition != Condition::Completed || world.fleet.plan().service(need.on).oneshot)
    })
}

/// Generates the same histories each time, so that only a change of the code causes a failure. `PROPTEST_RNG_SEED`
/// selects others.
pub(crate) fn histories(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let rng_seed = match usual.rng_seed {
        RngSeed::Random => RngSeed::Fixed(2026),
        given @ RngSeed::Fixed(_) => given,
    };
    if let RngSeed::Fixed(seed) = rng_seed {
        eprintln!("replay with: PROPTEST_RNG_SEED={seed} cargo nextest run --package service-core --test it");
    }
    ProptestConfig { cases, max_shrink_iters: 2000, rng_seed, failure_persistence: None, ..usual }
}

fn all_come_up(world: &mut World) -> Result<(), TestCaseError> {
    let (all, now) = (world.fleet.plan().ids().collect::<Vec<_>>(), world.now);
    world.fleet.start(&all, Propagate::Yes, now);
    world.pass(Duration::from_mins(10));
    for id in all.into_iter().filter(|id| is_satisfiable(world, *id)) {
        let state = world.fleet.machine(id).state();
        prop_assert!(matches!(state, State::Ready { .. } | State::Completed { .. }), "{id:?} is {state:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(histories(100_000))]

    #[test]
    fn every_run_converges_to_its_goals_when_faults_stop(
        services in graph(),
        acts in proptest::collection::vec(act(), 0..30),
    ) {
        let mut world = World::new(services);
        let replanned = acts.iter().any(|act| matches!(act, Act::Replan(_)));
        for act in acts {
            perform(&mut world, act);
        }
        world.see();
        world.calm();
        let all: Vec<_> = world.fleet.plan().ids().collect();
        world.pass(Duration::from_mins(10));
        for id in &all {
            let machine = world.fleet.machine(*id);
            prop_assert!(machine.goal() != Goal::Restart, "{id:?} was never restarted");
            prop_assert!(machine.goal() == Goal::Up || !world.is_alive(*id), "{id:?} runs although it should not");
        }
        for id in world.waiting.services(&world.fleet) {
            prop_assert!(replanned || !is_satisfiable(&world, id), "a request for {id:?} was never answered");
        }
        // A request for all services starts every service that can run, whatever failed before. After a change of plans
        // this need not hold, because a process under another definition may never satisfy the present one.
        if !replanned {
            all_come_up(&mut world)?;
        }
        let now = world.now;
        world.fleet.stop(&all, Propagate::Yes, now);
        world.pass(Duration::from_mins(10));
        prop_assert!(all.iter().all(|id| !world.is_alive(*id)), "a process was left");
        all_come_up(&mut world)?;
    }
}
