//! What it costs to look after 50 services of systemd, and 50 containers of podman, at the default interval, in processor time of the daemon and all
//! that it calls, and of systemd itself. Processor time, because a busy machine makes everything slow and little dear.
//!
//! `cargo xtask bench` builds what this needs and runs it.

// A bench ends where something is not as it should be.
#![allow(clippy::unwrap_used)]

use service_tests::{Podman, Project, ServiceTable, Systemd, follow};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const SERVICES: usize = 50;
/// Six default intervals.
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
    let Some(podman) = Project::new(&services).and_then(Podman::of) else { return };
    let rows = podman.value("service start --all --timeout 5min");
    assert!(rows.column("ok").iter().all(|ok| ok == "true"), "{rows}");
    std::thread::sleep(Duration::from_secs(10));
    let daemon = podman.daemon();
    let window = || {
        let before = spent(daemon);
        std::thread::sleep(WINDOW);
        share(spent(daemon).saturating_sub(before))
    };
    println!("looking after {SERVICES} containers of podman: {:.2} % of one core (bound: 2 %)", window());
    for (path, whom) in [("services/c0/logs?", "one of them"), ("logs?", "all of them")] {
        let reader = follow(&podman.socket(), &format!("/api/v1/{path}follow=true"));
        println!("the same, with the silent log of {whom} followed: {:.2} %", window());
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
    // One interval, in which those that were started one after the other come together.
    std::thread::sleep(Duration::from_secs(10));
    let daemon = project.daemon();
    let (before, systemd_before) = (spent(daemon), spent(systemd.pid()));
    std::thread::sleep(WINDOW);
    println!(
        "looking after {SERVICES} services of systemd: {:.2} % of one core (bound: 2 %); systemd's answers: {:.2} %",
        share(spent(daemon).saturating_sub(before)),
        share(spent(systemd.pid()).saturating_sub(systemd_before)),
    );
    project.value("service stop --all");
}

fn share(spent: Duration) -> f64 {
    100.0 * spent.as_secs_f64() / WINDOW.as_secs_f64()
}

/// Processor time of a process and of all its children that have ended: fields 14 to 17 of `/proc/<pid>/stat`.
fn spent(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(4);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    Duration::from_millis(1_000 * ticks / u64::try_from(per_second).unwrap())
}
