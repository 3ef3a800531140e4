//! Tests of awaited states, and of the moment when a state becomes impossible.

use super::world::{World, service};
use service_core::Name;
use service_core::config::{Backoff, Condition, Dependency, Restart, Service, Span, WhenLost};
use service_core::fleet::{Blocker, Progress, WaitCondition};
use service_core::service::{Exit, Goal};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn outlooks(world: &World, name: &str) -> [Progress; 5] {
    WaitCondition::ALL.map(|(_, until)| world.fleet.wait_progress(world.id(name), until))
}

fn never(obstacle: Blocker) -> Progress {
    Progress::Impossible(obstacle)
}

#[test]
fn what_nobody_wants_comes_to_nothing_but_has_stopped() {
    let world = World::new(vec![service("a")]);
    let unwanted = never(Blocker::Superseded);
    let [ready, healthy, running, stopped, completed] = outlooks(&world, "a");
    assert_eq!([ready, healthy, running, completed], [(); 4].map(|()| unwanted.clone()));
    assert_eq!(stopped, Progress::Done);
}

#[test]
fn what_runs_is_ready_healthy_and_running_and_may_still_stop_or_end() {
    let mut world = World::new(vec![service("a")]);
    world.start("a");
    world.pass(SECOND);
    let [ready, healthy, running, stopped, completed] = outlooks(&world, "a");
    assert_eq!([ready, healthy, running], [(); 3].map(|()| Progress::Done));
    assert_eq!([stopped, completed], [Progress::Pending, Progress::Pending]);
}

#[test]
fn what_is_always_started_again_never_completes() {
    let mut world = World::new(vec![Service { restart: Restart::Always, ..service("a") }]);
    world.start("a");
    world.pass(SECOND);
    assert_eq!(
        world.fleet.wait_progress(world.id("a"), WaitCondition::Completed),
        never(Blocker::RestartsForever)
    );
}

#[test]
fn a_crash_answers_who_asked_for_the_start_and_not_who_looks_on() {
    let mut needy = service("b");
    needy.dependencies.push(Dependency {
        name: Name::new("a").unwrap(),
        span: Span::default(),
        condition: Condition::Ready,
        when_lost: WhenLost::Keep,
    });
    let mut world = World::new(vec![service("a"), needy.clone()]);
    let (a, b) = (world.id("a"), world.id("b"));
    world.manners[a.index()].lives_for = Some((Duration::from_millis(10), Exit::Code(1)));
    world.start("b");
    world.pass(Duration::from_millis(20));
    assert_eq!(world.state("a"), "backoff");
    assert_eq!(world.fleet.start_progress(a), never(Blocker::Failed));
    assert_eq!(world.fleet.start_progress(b), never(Blocker::Dependency(a)));
    assert_eq!(world.fleet.wait_progress(a, WaitCondition::Ready), Progress::Pending);
    assert_eq!(world.fleet.wait_progress(b, WaitCondition::Ready), Progress::Pending);
    world.manners[a.index()].lives_for = None;
    world.pass(Duration::from_secs(20));
    assert_eq!((world.state("a"), world.state("b")), ("ready", "ready"));

    // This also holds without a delay before the next start.
    let mut eager = service("a");
    eager.backoff = Backoff { initial: Duration::ZERO, limit: 0, ..eager.backoff };
    let mut world = World::new(vec![eager, needy]);
    let (a, b) = (world.id("a"), world.id("b"));
    world.manners[a.index()].lives_for = Some((Duration::from_millis(10), Exit::Code(1)));
    world.start("b");
    world.waiting.add(&world.fleet, Goal::Up, &[a, b]);
    world.pass(Duration::from_millis(15));
    assert!(world.waiting.services(&world.fleet).is_empty());
}

#[test]
fn a_one_shot_that_has_completed_is_ready_and_not_running() {
    let mut world = World::new(vec![Service { oneshot: true, ..service("a") }]);
    let a = world.id("a");
    world.manners[0].lives_for = Some((SECOND, Exit::Code(0)));
    world.start("a");
    assert_eq!(world.fleet.wait_progress(a, WaitCondition::Completed), Progress::Pending);
    world.pass(2 * SECOND);
    let [ready, healthy, running, stopped, completed] = outlooks(&world, "a");
    assert_eq!([ready, healthy, stopped, completed], [(); 4].map(|()| Progress::Done));
    assert_eq!(running, never(Blocker::Failed));
}

#[test]
fn what_needs_a_failed_service_will_neither_run_nor_complete() {
    let need = Dependency {
        name: Name::new("a").unwrap(),
        span: Span::default(),
        condition: Condition::Ready,
        when_lost: WhenLost::Keep,
    };
    let failing = Service { restart: Restart::No, ..service("a") };
    let mut world = World::new(vec![failing, Service { dependencies: vec![need], ..service("b") }]);
    let a = world.id("a");
    world.manners[0].lives_for = Some((Duration::ZERO, Exit::Code(1)));
    world.start("b");
    world.pass(SECOND);
    let [ready, healthy, running, stopped, completed] = outlooks(&world, "b");
    assert_eq!([ready, healthy, running, completed], [(); 4].map(|()| never(Blocker::Dependency(a))));
    assert_eq!(stopped, Progress::Pending, "the service would run if its dependency did");
    assert_eq!(world.fleet.wait_progress(a, WaitCondition::Stopped), Progress::Done);
}
