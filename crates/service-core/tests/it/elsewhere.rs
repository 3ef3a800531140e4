//! Tests of external starts and stops, through the manager of a service.

use super::world::{World, service};
use service_core::config::{Condition, Dependency, Manager, Restart, Service, Span, WhenLost};
use service_core::fleet::{Progress, WaitCondition};
use service_core::service::{Goal, State};
use service_core::{Moment, Name};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than `health.interval`.
const INTERVAL: Duration = Duration::from_secs(11);

fn managed(name: &str) -> Service {
    Service { manager: Manager::BuiltIn("systemd".to_owned()), ..service(name) }
}

/// `b` depends on `a`.
fn pair() -> World {
    let need = Dependency {
        name: Name::new("a").unwrap(),
        span: Span::default(),
        condition: Condition::Ready,
        when_lost: WhenLost::Restart,
    };
    World::new(vec![managed("a"), Service { dependencies: vec![need], ..managed("b") }])
}

#[test]
fn what_somebody_else_starts_is_shown_and_left_alone() {
    let mut world = World::new(vec![managed("a")]);
    world.start_elsewhere("a");
    world.pass(INTERVAL);
    let snapshot = world.fleet.snapshot(world.id("a"));
    assert!(matches!(snapshot.state, State::Ready { .. }), "{snapshot:?}");
    assert_eq!(snapshot.goal, Goal::Down);
    assert!(snapshot.reason.unwrap().contains("outside the orchestrator"));
    assert_eq!(world.fleet.wait_progress(world.id("a"), WaitCondition::Ready), Progress::Done);
    world.pass(60 * SECOND);
    assert_eq!(world.diary, [""; 0], "the service is not stopped");
    world.crash(world.id("a"));
    world.pass(60 * SECOND);
    assert_eq!((world.state("a"), &*world.diary), ("stopped", &[][..]), "the service is not started again");
}

#[test]
fn a_wish_takes_over_what_somebody_else_started() {
    let mut world = World::new(vec![managed("a")]);
    world.start_elsewhere("a");
    world.pass(INTERVAL);
    world.start("a");
    world.crash(world.id("a"));
    world.pass(SECOND);
    assert_eq!(
        (world.state("a"), &*world.diary),
        ("ready", &["+a".to_owned()][..]),
        "the restart policy applies"
    );
    world.stop("a");
    world.pass(SECOND);
    world.start_elsewhere("a");
    world.pass(INTERVAL);
    world.stop("a");
    world.pass(SECOND);
    assert_eq!((world.state("a"), &world.diary[2..]), ("stopped", &["-a".to_owned()][..]));
}

#[test]
fn what_failed_and_is_started_by_somebody_else_is_looked_after_again() {
    let mut world = World::new(vec![Service { restart: Restart::No, ..managed("a") }]);
    world.start("a");
    world.pass(SECOND);
    world.crash(world.id("a"));
    assert_eq!(world.state("a"), "failed");
    world.start_elsewhere("a");
    world.pass(INTERVAL);
    assert_eq!(world.state("a"), "ready");
    assert_eq!(world.fleet.snapshot(world.id("a")).goal, Goal::Up);
}

#[test]
fn what_others_started_without_its_needs_goes_on_without_them() {
    let mut world = pair();
    world.start_elsewhere("b");
    world.pass(INTERVAL);
    world.start("b");
    world.pass(SECOND);
    assert_eq!((world.state("a"), world.state("b")), ("ready", "ready"));
    assert_eq!(world.diary, ["+a"], "the service keeps running");
    world.stop("a");
    world.pass(SECOND);
    assert_eq!(world.diary, ["+a", "-b", "-a"]);
}

#[test]
fn what_others_started_is_need_enough_and_holds_nobody_back() {
    let mut world = pair();
    world.start_elsewhere("a");
    world.pass(INTERVAL);
    world.start("b");
    world.pass(SECOND);
    assert_eq!(world.diary, ["+b"]);
    world.stop("b");
    world.pass(SECOND);
    world.start_elsewhere("b");
    world.pass(INTERVAL);
    world.fleet.stop(&[world.id("a")], service_core::fleet::Propagate::No, world.now);
    world.pass(SECOND);
    assert_eq!((world.state("a"), world.state("b")), ("stopped", "ready"));
}

#[test]
fn another_daemon_leaves_alone_what_others_started() {
    let mut world = World::new(vec![managed("a")]);
    world.start_elsewhere("a");
    world.pass(INTERVAL);
    world.change_daemon(true, SECOND);
    world.pass(60 * SECOND);
    assert_eq!((world.state("a"), &*world.diary), ("ready", &[][..]));
}

#[test]
fn nobody_wakes_where_nothing_can_be_started_elsewhere() {
    let command = Service { manager: Manager::BuiltIn("command".to_owned()), ..service("b") };
    let world = World::new(vec![service("a"), command.clone()]);
    assert_eq!(world.fleet.next_deadline(), None);
    let asked = Service { status_command: Some("true".to_owned()), ..command };
    assert_eq!(World::new(vec![asked]).fleet.next_deadline(), Some(Moment::default()));
}
