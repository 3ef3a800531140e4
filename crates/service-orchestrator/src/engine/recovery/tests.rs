//! Tests of recovery with files that cannot be read.

use super::*;
use service_core::Config;
use service_host::disk::Disk;
use service_shim::{PROTOCOL_VERSION, Process};

/// The record of a shim that has ended. Another process may have its pid.
fn record(phase: Phase) -> RunRecord {
    RunRecord {
        version: PROTOCOL_VERSION,
        service: "web".to_owned(),
        run: 3,
        boot_id: String::new(),
        shim: Process { pid: std::process::id(), start_time: 0 },
        phase,
        notified: false,
        dropped: 0,
        unreported: 0,
        notify_status: service_shim::NotifyStatus::default(),
        leftover: None,
    }
}

fn paths(directory: &tempfile::TempDir) -> Paths {
    let paths = Paths::new(directory.path());
    service_host::run_directory::establish(&paths).unwrap();
    paths
}

fn definitions(paths: &Paths) -> Arc<RunDefinitions> {
    Arc::new(RunDefinitions::open(&paths.state_dir, Disk::default()).unwrap())
}

/// Creates a link to itself, which cannot be opened.
fn link(path: &std::path::Path) {
    std::os::unix::fs::symlink(path, path).unwrap();
}

#[tokio::test]
async fn what_cannot_be_opened_tells_nothing_and_what_is_damaged_has_ended_unseen() {
    let directory = tempfile::tempdir().unwrap();
    let paths = paths(&directory);
    let name = Name::new("web").unwrap();
    let files = paths.files(&name);
    let look = async |began| trace(&paths, &definitions(&paths), &name, None, began, None).await.found;
    let unclear = |found: &Discovered, path: std::path::PathBuf| {
        let Discovered::Unclear { why } = found else { panic!("expected an unclear state, got {found:?}") };
        assert!(why.contains(path.to_str().unwrap()) && why.contains("symbolic links"), "{why}");
    };
    let (now, long_ago) = (clock::now(), Moment::default());
    assert_eq!(look(now).await, Discovered::Absent, "its directory has just gone");
    std::fs::create_dir_all(files.run_directory()).unwrap();
    assert_eq!(look(now).await, Discovered::Absent);
    // The lock is free, so the service does not run. Its exit status may become readable later.
    link(&files.record());
    unclear(&look(now).await, files.record());
    assert_eq!(look(long_ago).await, Discovered::Absent, "the wait has a limit");
    std::fs::remove_file(files.record()).unwrap();
    for damaged in ["", "{", "{}"] {
        std::fs::write(files.record(), damaged).unwrap();
        assert_eq!(look(now).await, Discovered::Absent);
    }
    std::fs::remove_file(files.lock()).unwrap();
    link(&files.lock());
    for began in [now, long_ago] {
        unclear(&look(began).await, files.lock());
    }
}

#[tokio::test]
async fn where_not_even_the_names_can_be_read_nobody_is_called_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let paths = Arc::new(paths(&directory));
    let definitions = definitions(&paths);
    link(&paths.services());
    let (web, gone) = (Name::new("web").unwrap(), Name::new("gone").unwrap());
    let services = vec![Service::new(web.clone())];
    let plan = Plan::compile(Config { services, ..Config::default() }).unwrap();
    let state = State::Ready { launched: Moment::default(), since: Moment::default() };
    let memories = BTreeMap::from([(gone.clone(), PersistedState { state, ..PersistedState::default() })]);
    let traces = find_runs(&paths, &definitions, plan, &memories).await;
    assert_eq!(traces.orphaned, BTreeSet::from([gone.clone()]), "it was up");
    assert_eq!(traces.runs.keys().collect::<Vec<_>>(), [&gone, &web]);
    assert!(traces.runs.values().all(|trace| trace.unclear_reason().is_some()));
}

#[tokio::test]
async fn what_was_up_is_unclear_while_the_processes_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let paths = Arc::new(paths(&directory));
    let name = Name::new("gone").unwrap();
    std::fs::create_dir_all(paths.files(&name).run_directory()).unwrap();
    let state = State::Ready { launched: Moment::default(), since: Moment::default() };
    let memory = PersistedState { state, goal: Goal::Up, run: 3, ..PersistedState::default() };
    let memories = BTreeMap::from([(name.clone(), memory)]);
    let plan = || Plan::compile(Config::default()).unwrap();
    assert!(
        find_runs(&paths, &definitions(&paths), plan(), &memories).await.orphaned.is_empty(),
        "it has ended unseen"
    );
    let names = || BTreeSet::from([name.clone()]);
    let unsearched =
        super::traces(&paths, &definitions(&paths), names(), &memories, clock::now(), Some("no list")).await;
    assert!(unsearched[&name].unclear_reason().is_some_and(|why| why.contains("no list")));
    let known = BTreeMap::from([(name.clone(), PersistedState { run: 3, ..PersistedState::default() })]);
    let at_rest =
        super::traces(&paths, &definitions(&paths), names(), &known, clock::now(), Some("no list")).await;
    assert_eq!(at_rest[&name].unclear_reason(), None, "it was at rest");
}

#[tokio::test]
async fn who_was_kept_when_it_was_looked_at_is_running_although_its_shim_has_ended_since() {
    let directory = tempfile::tempdir().unwrap();
    let paths = paths(&directory);
    let name = Name::new("web").unwrap();
    let leader = Process { pid: std::process::id(), start_time: 0 };
    let exit = service_shim::Exit::Code(0);
    for phase in [Phase::Running { leader, at: 1 }, Phase::Exited { leader, exit, at: 1 }] {
        let found = classify(&record(phase), true, &paths, &name).await;
        assert_eq!(found, Discovered::Running { run: 3, launched: Moment::from_nanos(1) });
    }
    let ended = record(Phase::Finished { exit, at: 2 });
    for is_kept in [true, false] {
        let over = Discovered::Exited { run: 3, event: Event::TreeExited(Exit::Code(0)) };
        assert_eq!(classify(&ended, is_kept, &paths, &name).await, over);
    }
    let killed = classify(&record(Phase::Running { leader, at: 1 }), false, &paths, &name).await;
    assert_eq!(killed, Discovered::Exited { run: 3, event: Event::TreeExited(Exit::Unknown) });
}
