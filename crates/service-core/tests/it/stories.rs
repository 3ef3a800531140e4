//! One behaviour in each test, which is named after it.

use super::world::{Manners, World, service};
use service_core::Name;
use service_core::config::{Condition, Dependency, OnFailure, Restart, Service, Span, WhenLost};
use service_core::fleet::{Blocker, Progress, Propagate, WaitCondition};
use service_core::health::{Endpoint, Health};
use service_core::service::{Discovered, Event, Exit, Goal, PersistedState, State};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A service with a TCP health check, like most services.
fn checked(name: &str) -> Service {
    Service { endpoint: Some(Endpoint::Tcp("localhost:1".into())), ..service(name) }
}

fn needing(service: Service, name: &str, condition: Condition, when_lost: WhenLost) -> Service {
    let mut service = service;
    service.dependencies.push(Dependency {
        name: Name::new(name).unwrap(),
        span: Span::default(),
        condition,
        when_lost,
    });
    service
}

fn chain(when_lost: WhenLost) -> World {
    let link = |name, on| needing(checked(name), on, Condition::Ready, when_lost);
    World::new(vec![checked("a"), link("b", "a"), link("c", "b")])
}

#[test]
fn a_start_takes_its_needs_along_and_each_waits_until_the_one_before_is_ready() {
    let mut world = chain(WhenLost::Keep);
    world.start("c");
    assert_eq!(world.state("c"), "waiting");
    world.pass(SECOND);
    assert_eq!(world.diary, ["+a", "+b", "+c"]);
    assert_eq!(world.state("c"), "ready");
}

#[test]
fn another_daemon_knows_how_healthy_a_service_was() {
    let mut world =
        World::new(vec![Service { endpoint: Some(Endpoint::Tcp("localhost:1".into())), ..service("a") }]);
    world.start("a");
    world.pass(SECOND);
    world.manners[0].sick = true;
    world.pass(60 * SECOND);
    assert_eq!(world.fleet.snapshot(world.id("a")).health, Health::Unhealthy);
    world.change_daemon(true, Duration::ZERO);
    assert_eq!(world.fleet.snapshot(world.id("a")).health, Health::Unhealthy);
    world.manners[0].sick = false;
    world.pass(SECOND);
    assert_eq!(world.fleet.snapshot(world.id("a")).health, Health::Healthy, "the next check is immediate");
}

#[test]
fn a_restart_that_is_refused_is_tried_again_and_a_start_is_not() {
    let mut world = World::new(vec![checked("a")]);
    world.start("a");
    world.pass(SECOND);
    world.manners[0].refuses = true;
    world.crash(world.id("a"));
    world.pass(SECOND);
    assert_eq!(world.state("a"), "backoff");
    world.manners[0].refuses = false;
    world.pass(SECOND);
    assert_eq!(world.state("a"), "ready");
    world.manners[0].refuses = true;
    world.stop("a");
    world.pass(SECOND);
    world.start("a");
    world.pass(SECOND);
    assert_eq!(world.state("a"), "failed");
}

#[test]
fn a_stop_takes_dependents_down_first() {
    let mut world = chain(WhenLost::Keep);
    world.start("c");
    world.pass(SECOND);
    world.stop("a");
    world.pass(SECOND);
    assert_eq!(world.diary[3..], ["-c", "-b", "-a"]);
}

#[test]
fn a_restart_gives_back_what_it_took_down() {
    let mut world = chain(WhenLost::Keep);
    world.start("c");
    world.pass(SECOND);
    world.restart("a");
    world.pass(SECOND);
    assert_eq!(world.diary[3..], ["-c", "-b", "-a", "+a", "+b", "+c"]);
    assert_eq!(world.state("c"), "ready");
}

#[test]
fn a_start_does_not_undo_a_restart_that_waits_for_dependents_to_stop() {
    let mut world = chain(WhenLost::Keep);
    world.start("c");
    world.pass(SECOND);
    world.diary.clear();
    world.restart("a");
    world.start("a");
    let a = world.id("a");
    assert_eq!(
        world.fleet.start_progress(a),
        Progress::Pending,
        "the running process is not of the requested run"
    );
    world.pass(SECOND);
    assert_eq!(world.diary, ["-c", "-b", "-a", "+a", "+b", "+c"]);
    assert_eq!(world.fleet.start_progress(a), Progress::Done);
}

#[test]
fn what_is_no_longer_defined_is_only_stopped_by_a_restart_that_is_under_way() {
    let mut world = chain(WhenLost::Keep);
    world.start("c");
    world.pass(SECOND);
    world.diary.clear();
    world.restart("a");
    let a = world.id("a");
    world.fleet.decommission(a);
    world.pass(SECOND);
    assert_eq!(world.diary, ["-c", "-b", "-a"]);
    assert_eq!(world.state("a"), "stopped");
}

#[test]
fn a_restart_leaves_stopped_dependents_alone() {
    let mut world = chain(WhenLost::Keep);
    world.start("b");
    world.pass(SECOND);
    world.restart("a");
    world.pass(SECOND);
    assert_eq!(world.state("b"), "ready");
    assert_eq!(world.state("c"), "stopped");
}

#[test]
fn the_first_crash_of_a_ready_service_is_followed_by_a_restart_at_once() {
    let mut world = chain(WhenLost::Keep);
    world.start("a");
    world.pass(SECOND);
    let a = world.id("a");
    world.crash(a);
    assert_eq!(world.diary, ["+a", "+a"]);
    world.pass(SECOND);
    world.crash(a);
    assert_eq!(world.state("a"), "backoff");
    world.pass(SECOND);
    assert_eq!(world.state("a"), "ready");
}

#[test]
fn a_lost_need_restarts_who_wishes_so_and_nobody_else() {
    let mut world = chain(WhenLost::Restart);
    world.start("c");
    world.pass(SECOND);
    let a = world.id("a");
    world.crash(a);
    world.pass(SECOND);
    assert_eq!(world.diary[3..], ["+a", "-c", "-b", "+b", "+c"]);
    let mut world = chain(WhenLost::Keep);
    world.start("c");
    world.pass(SECOND);
    world.crash(a);
    world.pass(SECOND);
    assert_eq!(world.diary[3..], ["+a"]);
}

#[test]
fn a_lost_need_stops_who_wishes_so() {
    let mut world = chain(WhenLost::Stop);
    world.start("c");
    world.pass(SECOND);
    let b = world.id("b");
    world.crash(b);
    world.pass(SECOND);
    assert_eq!((world.state("b"), world.state("c")), ("ready", "stopped"));
}

#[test]
fn a_one_shot_runs_before_who_needs_its_completion_and_not_again_with_the_next() {
    let migrate = Service { oneshot: true, ..service("migrate") };
    let web = needing(checked("web"), "migrate", Condition::Completed, WhenLost::Keep);
    let mut world = World::new(vec![migrate, web]);
    world.manners[0].lives_for = Some((Duration::from_millis(50), Exit::Code(0)));
    world.start("web");
    world.pass(SECOND);
    assert_eq!((world.state("migrate"), world.state("web")), ("completed", "ready"));
    world.stop("web");
    world.pass(SECOND);
    world.start("web");
    world.pass(SECOND);
    assert_eq!(world.diary, ["+migrate", "+web", "-web", "+web"]);
}

#[test]
fn a_failed_one_shot_is_told_to_who_waits_for_it() {
    let migrate = Service { oneshot: true, restart: Restart::No, ..service("migrate") };
    let web = needing(checked("web"), "migrate", Condition::Completed, WhenLost::Keep);
    let mut world = World::new(vec![migrate, web]);
    world.manners[0].lives_for = Some((Duration::from_millis(50), Exit::Code(3)));
    world.start("web");
    world.pass(SECOND);
    let (migrate, web) = (world.id("migrate"), world.id("web"));
    assert_eq!(world.fleet.start_progress(migrate), Progress::Impossible(Blocker::Failed));
    assert_eq!(world.fleet.start_progress(web), Progress::Impossible(Blocker::Dependency(migrate)));
}

#[test]
fn dependents_start_when_what_failed_recovers() {
    let mut world = chain(WhenLost::Keep);
    world.manners[0].refuses = true;
    world.start("c");
    world.pass(SECOND);
    assert_eq!((world.state("a"), world.state("c")), ("failed", "waiting"));
    world.manners[0].refuses = false;
    world.start("a");
    world.pass(SECOND);
    assert_eq!(world.state("c"), "ready");
}

#[test]
fn a_service_that_ignores_the_request_to_end_is_killed_after_its_grace() {
    let mut world = chain(WhenLost::Keep);
    world.manners[0].ignores_term = true;
    world.start("a");
    world.pass(SECOND);
    world.stop("a");
    world.pass(Duration::from_secs(9));
    assert_eq!(world.state("a"), "stopping");
    world.pass(SECOND * 2);
    assert_eq!(world.state("a"), "stopped");
}

#[test]
fn a_start_that_hangs_ends_by_its_timeout_and_says_so() {
    let mut world = chain(WhenLost::Keep);
    world.manners[0] = Manners { sick: true, ..Manners::default() };
    world.start("b");
    world.pass(Duration::from_secs(59));
    assert_eq!(world.state("a"), "starting");
    world.pass(SECOND + Duration::from_millis(100));
    let (a, b) = (world.id("a"), world.id("b"));
    assert_eq!(world.fleet.start_progress(a), Progress::Impossible(Blocker::Failed));
    assert_eq!(world.fleet.start_progress(b), Progress::Impossible(Blocker::Dependency(a)));
}

#[test]
fn a_service_that_always_crashes_fails_for_good_and_a_new_wish_tries_afresh() {
    let mut world = chain(WhenLost::Keep);
    world.manners[0].lives_for = Some((Duration::from_millis(1), Exit::Code(1)));
    world.start("a");
    world.pass(SECOND * 30);
    assert_eq!(world.state("a"), "failed");
    let reason = world.fleet.snapshot(world.id("a")).reason;
    assert_eq!(reason.as_deref(), Some("exited with code 1, tried 6 times"));
    world.manners[0].lives_for = None;
    world.start("a");
    world.pass(SECOND);
    assert_eq!(world.state("a"), "ready");
}

#[test]
fn an_unhealthy_service_is_reported_and_restarted_only_where_that_is_wished() {
    let health = |on_failure| {
        let mut service = checked("a");
        service.health.on_failure = on_failure;
        service
    };
    for (on_failure, word, launches) in [(OnFailure::Report, "ready", 1), (OnFailure::Restart, "starting", 2)]
    {
        let mut world = World::new(vec![health(on_failure)]);
        world.start("a");
        world.pass(SECOND);
        world.manners[0].sick = true;
        world.pass(Duration::from_secs(35));
        assert_eq!(
            (world.state("a"), world.diary.iter().filter(|line| *line == "+a").count()),
            (word, launches)
        );
    }
}

#[test]
fn a_stop_without_dependents_leaves_them_running() {
    let mut world = chain(WhenLost::Keep);
    world.start("c");
    world.pass(SECOND);
    let (a, now) = (world.id("a"), world.now);
    world.fleet.stop(&[a], Propagate::No, now);
    world.pass(SECOND);
    assert_eq!((world.state("a"), world.state("b")), ("stopped", "ready"));
}

#[test]
fn a_new_daemon_disturbs_nobody_even_without_a_memory() {
    for remembers in [true, false] {
        let mut world = chain(WhenLost::Restart);
        world.start("c");
        world.pass(SECOND);
        world.change_daemon(remembers, Duration::ZERO);
        world.pass(SECOND);
        assert_eq!(world.diary, ["+a", "+b", "+c"]);
        assert_eq!(world.state("c"), "ready");
    }
}

/// Makes a service unreadable for the next daemon.
fn dark(world: &mut World, name: &str) {
    let id = world.id(name);
    world.change_daemon_that_sees(true, Duration::ZERO, |other| other != id);
}

#[test]
fn what_cannot_be_looked_at_is_unknown_and_neither_stopped_nor_started() {
    let mut world = chain(WhenLost::Restart);
    world.start("c");
    world.pass(SECOND);
    let diary = world.diary.clone();
    dark(&mut world, "b");
    assert_eq!((world.state("a"), world.state("b"), world.state("c")), ("ready", "unknown", "ready"));
    let b = world.id("b");
    let snapshot = world.fleet.snapshot(b);
    assert_eq!((snapshot.status.as_str(), snapshot.reason.as_deref()), ("unknown", Some("dark")));
    world.stop("b");
    assert_eq!(world.fleet.stop_progress(b), Progress::Impossible(Blocker::Unclear));
    world.start("b");
    assert_eq!(world.fleet.start_progress(b), Progress::Impossible(Blocker::Unclear));
    world.restart("b");
    world.pass(60 * SECOND);
    assert_eq!(world.state("b"), "unknown");
    assert_eq!(world.fleet.machine(b).goal(), Goal::Up, "the goal is kept");
    assert!(world.is_alive(b));
    assert!(!world.diary[diary.len()..].iter().any(|entry| entry.ends_with('b')), "{:?}", world.diary);
    world.see();
    assert_eq!(world.state("b"), "ready");
    world.stop("a");
    world.pass(SECOND);
    assert!(["a", "b", "c"].iter().all(|name| world.state(name) == "stopped"));
}

#[test]
fn a_stop_of_the_others_does_not_wait_for_what_is_unknown() {
    let mut world = chain(WhenLost::Keep);
    world.start("c");
    world.pass(SECOND);
    world.manners[2].ignores_term = true;
    world.stop("c");
    dark(&mut world, "c");
    world.stop("a");
    world.pass(SECOND);
    assert_eq!((world.state("a"), world.state("b"), world.state("c")), ("stopped", "stopped", "unknown"));
    world.see();
    world.pass(60 * SECOND);
    assert_eq!(world.state("c"), "stopped", "it was requested to stop before");
}

#[test]
fn who_needs_what_is_unknown_is_told_and_starts_when_it_is_found() {
    let mut world = chain(WhenLost::Keep);
    world.start("a");
    world.pass(SECOND);
    dark(&mut world, "a");
    world.start("b");
    let (a, b) = (world.id("a"), world.id("b"));
    assert_eq!(world.fleet.start_progress(b), Progress::Impossible(Blocker::Dependency(a)));
    assert_eq!(
        world.fleet.wait_progress(b, WaitCondition::Ready),
        Progress::Pending,
        "the state is still possible"
    );
    assert_eq!(world.state("b"), "waiting");
    world.see();
    world.pass(SECOND);
    assert_eq!(world.state("b"), "ready");
}

#[test]
fn how_a_run_ended_that_was_unknown_is_told_and_its_policy_goes_on() {
    let mut world = World::new(vec![Service { restart: Restart::No, ..checked("a") }]);
    world.start("a");
    world.pass(SECOND);
    dark(&mut world, "a");
    let a = world.id("a");
    world.crash(a);
    assert_eq!(world.state("a"), "unknown");
    assert_eq!(world.fleet.snapshot(a).last_exit, None, "nobody knows");
    world.see();
    assert_eq!((world.state("a"), world.fleet.snapshot(a).last_exit), ("failed", Some(Exit::Signal(9))));
}

#[test]
fn a_run_that_left_no_word_has_ended_unseen_whatever_an_earlier_one_left() {
    let mut world = World::new(vec![Service { restart: Restart::No, ..checked("a") }]);
    let a = world.id("a");
    for found in [Discovered::Absent, Discovered::Exited { run: 1, event: Event::TreeExited(Exit::Code(0)) }]
    {
        let state = State::Ready { launched: world.now, since: world.now };
        let memory = PersistedState {
            goal: Goal::Up,
            state,
            run: 2,
            last_exit: Some(Exit::Code(0)),
            ..PersistedState::default()
        };
        world.fleet.restore(a, memory, found, world.now);
        let snapshot = world.fleet.snapshot(a);
        assert_eq!((snapshot.state_word(), snapshot.last_exit), ("failed", Some(Exit::Unknown)));
    }
}

#[test]
fn a_run_that_never_began_has_not_the_exit_of_the_run_before() {
    let mut world = World::new(vec![checked("a")]);
    let (a, now) = (world.id("a"), world.now);
    let last = PersistedState {
        run: 2,
        last_exit: Some(Exit::Code(3)),
        exit_run: Some(1),
        ..PersistedState::default()
    };
    // The daemon died before the launch.
    let launching = PersistedState { state: State::Launching { since: now }, ..last.clone() };
    world.fleet.restore(a, launching.clone(), Discovered::Absent, now);
    assert_eq!((world.state("a"), world.fleet.snapshot(a).last_exit), ("stopped", None));
    // An earlier version has not written the run of the exit status.
    world.fleet.restore(a, PersistedState { exit_run: None, ..launching }, Discovered::Absent, now);
    assert_eq!(world.fleet.snapshot(a).last_exit, None);
    world.fleet.restore(a, PersistedState { exit_run: None, ..last.clone() }, Discovered::Absent, now);
    assert_eq!(world.fleet.snapshot(a).last_exit, Some(Exit::Code(3)));
    // The machine lost power during the run.
    let mut running = PersistedState { state: State::Ready { launched: now, since: now }, ..last };
    running.on_reboot(now);
    world.fleet.restore(a, running, Discovered::Absent, now);
    assert_eq!((world.state("a"), world.fleet.snapshot(a).last_exit), ("stopped", None));
}

/// Updates the running service `a` to another definition.
fn update(world: &mut World, change: impl FnOnce(&mut Service)) {
    let id = world.id("a");
    let mut service = Service::clone(world.fleet.plan().service(id));
    change(&mut service);
    world.replan(vec![service]);
    let now = world.now;
    world.fleet.update(&[id], now);
}

#[test]
fn a_changed_check_is_asked_before_the_service_is_called_healthy() {
    for sick in [false, true] {
        let mut world = World::new(vec![checked("a")]);
        let a = world.id("a");
        world.start("a");
        // The next check of the old definition is in flight, and its result arrives after the change.
        world.pass(SECOND);
        while world.fleet.machine(a).deadline().is_some() {
            world.pass(Duration::from_micros(100));
        }
        world.manners[0].sick = sick;
        update(&mut world, |service| service.endpoint = Some(Endpoint::Tcp("localhost:2".into())));
        assert_eq!(world.fleet.update_progress(a), Progress::Pending);
        world.pass(Duration::from_micros(250));
        assert_eq!(world.fleet.update_progress(a), Progress::Pending, "this was the result of the old check");
        world.pass(SECOND * 3);
        let wanted = if sick { Progress::Impossible(Blocker::Failed) } else { Progress::Done };
        assert_eq!((world.fleet.update_progress(a), world.diary.len()), (wanted, 1));
    }
}

#[test]
fn a_change_that_leaves_the_check_alone_leaves_the_health_alone() {
    let mut world = World::new(vec![checked("a")]);
    world.start("a");
    world.pass(SECOND);
    update(&mut world, |service| service.health.interval = SECOND);
    assert_eq!(world.fleet.machine(world.id("a")).health(), Health::Healthy);
    update(&mut world, |service| service.endpoint = None);
    world.pass(SECOND);
    assert_eq!(
        world.fleet.machine(world.id("a")).health(),
        Health::Alive,
        "the service is not checked any more"
    );
}
