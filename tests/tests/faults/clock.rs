//! A clock that jumps: `libfaketime` gives daemon, shims, services and shells another wall clock time, which the test
//! changes while they run. Only `CLOCK_REALTIME` jumps, as on a machine whose clock is set.

use crate::{Footprint, leaves_nothing};
use nix::sys::signal::Signal;
use serde_json::Value;
use service_tests::{Answer, Project, ServiceTable, alive, eventually, signal, skip};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const HOUR: u64 = 3_600_000_000_000;
/// The successive offsets of the wall clock: a day forwards, back to the true time, a day backwards, and the true time
/// again.
const JUMPS: [&str; 4] = ["1day", "0day", "-1day", "0day"];

/// The path of the library for programs with threads in Debian's `faketime`.
fn library() -> Option<PathBuf> {
    let architectures = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = architectures.map(|directory| directory.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.is_file())
}

/// A project in which all processes, including the shell, have the time in the file `clock`.
fn project(services: &str) -> Option<Project> {
    let Some(library) = library() else {
        skip("faketime is not installed");
        return None;
    };
    let project = Project::new(services)?;
    let clock = project.write("clock", "+0d");
    Some(
        project
            .env("LD_PRELOAD", library.to_string_lossy())
            .env("FAKETIME_TIMESTAMP_FILE", clock.to_string_lossy())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DISABLE_SHM", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    )
}

/// Sets the offset of the clock. The file is replaced atomically, because reading a partial file would be another jump.
fn jump(project: &Project, to: &str) {
    let days: i32 = to.trim_end_matches("day").parse().unwrap();
    let aside = project.write("clock.new", &format!("{days:+}d"));
    fs::rename(aside, project.path("clock")).unwrap();
}

/// The goal of every service. Nushell itself, which is statically linked, has the true time.
fn seen(project: &Project, to: &str) -> Value {
    project.value(&format!("service status --long | default (date now) since | insert age {{|row| (date now) + {to} - $row.since }}"))
}

#[test]
fn nothing_is_restarted_and_every_span_of_time_stays_what_it_was() {
    let Some(project) = project(
        r#"
        [services.web]
        start_command = "TEST_SERVICE count 20"
        restart = "always"
        health_check_endpoint = "exec:cat well"
        health = { interval = "50ms" }

        [services.crashing]
        start_command = "TEST_SERVICE note crashes exit 3"
        restart = "always"
        backoff = { initial = "1s", max = "1s", limit = 0 }
        "#,
    ) else {
        return;
    };
    project.write("well", "");
    let begun = Instant::now();
    project.value("service start --all --no-wait");
    eventually("it is healthy", || (project.status("web")["health"] == "healthy").then_some(()));
    let (web, daemon, held) = (project.pid("web"), project.daemon(), Footprint::measure(&project));
    let mut uptime = 0;
    for to in JUMPS {
        jump(&project, to);
        let row = seen(&project, to).row("web").clone();
        assert_eq!(
            (&row["pid"], &row["restarts"], &row["state"]),
            (&web.into(), &0.into(), &"ready".into()),
            "{to}: {row}"
        );
        let (was, age) = (uptime, row["age"].as_i64().unwrap());
        uptime = row["uptime"].as_u64().unwrap();
        assert!(was <= uptime && uptime < HOUR, "{to}: up for {uptime} ns, before for {was}");
        assert!(age.unsigned_abs() < HOUR, "{to}: in this state for {age} ns");
        // Checks continue, and detect the failure soon.
        fs::remove_file(project.path("well")).unwrap();
        eventually("the check fails", || (project.status("web")["health"] == "unhealthy").then_some(()));
        project.write("well", "");
        eventually("the check passes", || (project.status("web")["health"] == "healthy").then_some(()));
        // The backoff neither expires at once nor lasts a day.
        let crashes = || project.read("crashes").lines().count();
        let before = crashes();
        eventually("it is started again", || (crashes() > before).then_some(()));
    }
    let (crashes, seconds) = (project.read("crashes").lines().count() as u64, begun.elapsed().as_secs());
    assert!(crashes <= seconds + 2, "{crashes} starts in {seconds} s, with a back-off of 1 s");
    assert_eq!((project.daemon(), project.pid("web")), (daemon, web));
    project.value("service stop crashing");
    held.has_not_grown();
    leaves_nothing(&project);
}

#[test]
fn the_log_keeps_every_line_in_order_and_since_shows_what_is_new() {
    let Some(project) = project("[services.web]\nstart_command = \"TEST_SERVICE count 5\"") else { return };
    project.value("service start web");
    let count = || {
        let lines = project.value("service logs web --tail 1000000 | where stream == stdout").column("line");
        let numbers: Vec<u64> = lines.iter().map(|line| line.parse().unwrap()).collect();
        assert!(
            numbers.iter().copied().eq(1..=numbers.len() as u64),
            "not each line once, in order: {lines:?}"
        );
        numbers.len()
    };
    for to in JUMPS {
        let before = count();
        jump(&project, to);
        eventually("the log goes on", || (count() > before + 20).then_some(()));
        // According to the present clock, everything after the jump is new.
        let new = project
            .value("service logs web --since 1hr --tail 1000000 | where stream == stdout")
            .column("line");
        let last = new.last().and_then(|line| line.parse::<usize>().ok());
        assert!(last.is_some_and(|last| last > before + 20), "{to}: {new:?} after {before} lines");
        let times = project
            .value(&format!("service logs web --tail 3 | each {{|row| (date now) + {to} - $row.time }}"));
        let is_now = |age: &Value| age.as_i64().is_some_and(|age| age.unsigned_abs() < HOUR);
        assert!(times.as_array().unwrap().iter().all(is_now), "{to}: {times}");
    }
    leaves_nothing(&project);
}

#[test]
fn patience_and_stop_timeout_are_neither_cut_short_nor_drawn_out() {
    let Some(project) = project(
        r#"
        [services.slow]
        start_command = "TEST_SERVICE wait 700 say up"
        ready = { log = "up", timeout = "20s" }

        [services.deaf]
        start_command = "TEST_SERVICE deaf say listening"
        ready = { log = "listening" }
        stop_timeout = "600ms"
        "#,
    ) else {
        return;
    };
    for to in ["1day", "-1day"] {
        project.value("service start deaf");
        let begun = Instant::now();
        let start = project.spawn("service start slow --timeout 15sec | to json --raw");
        eventually("it is being started", || (project.status("slow")["state"] == "starting").then_some(()));
        jump(&project, to);
        assert_eq!(Answer::wait_for(start).value().row("slow")["ok"], true, "{to}");
        let stopping = Instant::now();
        let stop = project.spawn("service stop deaf | to json --raw");
        eventually("it is being stopped", || (project.status("deaf")["state"] == "stopping").then_some(()));
        jump(&project, "0day");
        assert_eq!(Answer::wait_for(stop).value().row("deaf")["ok"], true, "{to}");
        assert!(stopping.elapsed() >= Duration::from_millis(600), "{to}: killed before its time");
        assert!(begun.elapsed() < Duration::from_secs(15), "{to}: took {:?}", begun.elapsed());
        project.value("service stop slow");
    }
    leaves_nothing(&project);
}

#[test]
fn a_daemon_that_comes_back_on_another_day_knows_its_services() {
    let Some(project) = project(
        "[services.web]\nstart_command = \"TEST_SERVICE alone lock\"\nrestart = \"always\"\n[services.once]\nstart_command = \"TEST_SERVICE exit 7\"\nrestart = \"no\"",
    ) else {
        return;
    };
    project.value("service start web");
    project.error("service start once");
    let web = project.pid("web");
    for to in JUMPS {
        project.kill_daemon();
        jump(&project, to);
        let rows = seen(&project, to);
        let (row, once) = (rows.row("web"), rows.row("once"));
        assert_eq!((&row["pid"], &row["restarts"]), (&web.into(), &0.into()), "{to}: {row}");
        assert!(row["uptime"].as_u64().is_some_and(|uptime| uptime < HOUR), "{to}: {row}");
        assert_eq!((&once["state"], &once["exit_code"]), (&"failed".into(), &7.into()), "{to}: {once}");
        assert!(once["age"].as_i64().is_some_and(|age| age.unsigned_abs() < HOUR), "{to}: {once}");
    }
    signal(web, Signal::SIGKILL);
    eventually("it comes back", || (project.status("web")["restarts"] == 1).then_some(()));
    assert!(!alive(web));
    leaves_nothing(&project);
}
