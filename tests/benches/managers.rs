//! The CPU time of watching 50 services of systemd and 50 containers of podman at the default interval, for the daemon
//! with its calls and for systemd. Unlike wall time, CPU time hardly depends on other load of the machine.
//!
//! `cargo xtask bench` builds the required programs and runs this bench.

// A bench panics if a step fails.
#![allow(clippy::unwrap_used)]

use service_tests::{ContainerEngine, Containers, Project, ServiceTable, Systemd, follow};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const SERVICES: usize = 50;
/// The time of a measurement: six default intervals.
const WINDOW: Duration = Duration::from_mins(1);

fn main() {
    units();
    containers();
}

fn containers() {
    let mut services = String::new();
    for n in 0..SERVICES {
        writeln!(
            services,
            "[services.c{n}]\nmanager = \"podman\"\nimage = \"localhost/box\"\nstart_command = \"/bin/sleep 3600\"\n\
             networks = \"none\"\nstop_timeout = \"1s\""
        )
        .unwrap();
    }
    let Some(project) = Project::new(&services) else { return };
    let Some(podman) = Containers::new(ContainerEngine::Podman, project) else { return };
    let rows = podman.value("service start --all --timeout 5min");
    assert!(rows.column("ok").iter().all(|ok| ok == "true"), "{rows}");
    std::thread::sleep(Duration::from_secs(10));
    let daemon = podman.daemon();
    let window = || {
        let before = spent(daemon);
        std::thread::sleep(WINDOW);
        share(spent(daemon).saturating_sub(before))
    };
    println!("watching {SERVICES} containers of podman: {:.2} % of one core (bound: 2 %)", window());
    for (path, whom) in [("services/c0/logs?", "one of them"), ("logs?", "all of them")] {
        let reader = follow(&podman.socket(), &format!("/api/v1/{path}follow=true"));
        println!("the same, with the idle log of {whom} followed: {:.2} %", window());
        drop(reader);
    }
}

fn units() {
    let mut services = String::new();
    for n in 0..SERVICES {
        writeln!(services, "[services.s{n}]\nmanager = \"systemd\"\nwith = {{ scope = \"user\" }}").unwrap();
    }
    let Some(project) = Project::new(&services) else { return };
    let Some(systemd) = Systemd::start(&project) else { return };
    for n in 0..SERVICES {
        systemd.unit(&format!("s{n}.service"), "[Service]\nExecStart=/bin/sleep infinity\n");
    }
    let begun = Instant::now();
    let rows = project.value("service start --all");
    assert!(rows.column("ok").iter().all(|ok| ok == "true"), "{rows}");
    println!("a start of {SERVICES} services of systemd: {:?}", begun.elapsed());
    // One interval, after which the checks of all services are batched.
    std::thread::sleep(Duration::from_secs(10));
    let daemon = project.daemon();
    let (before, systemd_before) = (spent(daemon), spent(systemd.pid()));
    std::thread::sleep(WINDOW);
    println!(
        "watching {SERVICES} services of systemd: {:.2} % of one core (bound: 2 %); systemd's answers: {:.2} %",
        share(spent(daemon).saturating_sub(before)),
        share(spent(systemd.pid()).saturating_sub(systemd_before)),
    );
    project.value("service stop --all");
}

fn share(spent: Duration) -> f64 {
    100.0 * spent.as_secs_f64() / WINDOW.as_secs_f64()
}

/// CPU time of a process and of all its children that have exited: fields 14 to 17 of `/proc/<pid>/stat`.
fn spent(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(4);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    Duration::from_millis(1_000 * ticks / u64::try_from(per_second).unwrap())
}
