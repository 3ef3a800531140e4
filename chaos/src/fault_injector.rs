//! Injects faults: in every process of the run, and in the machine.

use crate::chance::Chance;
use crate::power;
use crate::processes::{self, Kind, Process};
use crate::project::{InjectedFault, Project, now};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::sync::PoisonError;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The maximum age of writes that a power loss may undo.
const MAX_UNSYNCED: Duration = Duration::from_secs(2);

/// The machine fault of a round, in addition to kills, freezes and termination signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Nothing,
    Disk,
    Descriptors,
    ReadOnly,
    Power,
}

impl Trouble {
    pub(crate) const ALL: [Self; 5] =
        [Self::Nothing, Self::Disk, Self::Descriptors, Self::ReadOnly, Self::Power];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Disk => "disk",
            Self::Descriptors => "descriptors",
            Self::ReadOnly => "read-only",
            Self::Power => "power",
        }
    }

    const fn needs_root(self) -> bool {
        matches!(self, Self::Disk | Self::ReadOnly | Self::Power)
    }
}

/// The machine faults of a run, one per round, in a random order that repeats.
pub(crate) fn troubles(project: &Project, without: &[String]) -> Vec<Trouble> {
    let mut chance = Chance::new(project.seed, &[3]);
    let is_wanted = |trouble: &Trouble| {
        !without.iter().any(|word| word == trouble.as_str())
            && (project.has_own_disk || !trouble.needs_root())
    };
    let mut left: Vec<Trouble> = Trouble::ALL.into_iter().filter(is_wanted).collect();
    left.push(Trouble::Nothing);
    let mut order = Vec::new();
    while !left.is_empty() {
        let at = chance.below(left.len() as u64);
        order.push(left.remove(usize::try_from(at).unwrap_or(0)));
    }
    order
}

/// Injects faults for this long, and reverts them. Returns their number.
pub(crate) fn inject_faults(project: &Project, round: u64, trouble: Trouble, time: Duration) -> u64 {
    let mut chance = Chance::new(project.seed, &[4, round]);
    let begin = Instant::now();
    // The machine fault lasts for the middle third of the time.
    let (from, until) = (time / 3, time * 2 / 3);
    let (mut is_on, mut is_done, mut hits) = (false, false, 0);
    let mut frozen: Vec<(Instant, Process)> = Vec::new();
    while begin.elapsed() < time {
        // Some faults follow each other closely, so that one may hide the other.
        let pause = if chance.percent(25) { chance.below(8) } else { chance.between(20, 350) };
        sleep(Duration::from_millis(pause));
        let elapsed = begin.elapsed();
        if !is_on && !is_done && elapsed > from {
            is_on = true;
            turn_on(project, trouble, &mut chance);
            hits += u64::from(trouble != Trouble::Nothing);
        }
        if is_on && elapsed > until {
            (is_on, is_done) = (false, true);
            turn_off(project, trouble);
        }
        let (thaw, still): (Vec<_>, Vec<_>) =
            frozen.into_iter().partition(|(until, _)| Instant::now() >= *until);
        frozen = still;
        for (_, process) in thaw {
            signal(project, &process, Signal::SIGCONT);
        }
        if let Some((process, how)) = aim(project, &mut chance) {
            hits += 1;
            signal(project, &process, how);
            if how == Signal::SIGSTOP {
                frozen.push((Instant::now() + Duration::from_millis(chance.between(30, 2500)), process));
            }
        }
    }
    if is_on {
        turn_off(project, trouble);
    }
    for (_, process) in frozen {
        signal(project, &process, Signal::SIGCONT);
    }
    hits
}

fn aim(project: &Project, chance: &mut Chance) -> Option<(Process, Signal)> {
    let kind = match chance.below(100) {
        0..15 => Kind::Daemon,
        15..30 => Kind::Zygote,
        30..62 => Kind::Shim,
        62..90 => Kind::Service,
        _ => Kind::Child,
    };
    let how = match chance.below(100) {
        0..55 => Signal::SIGKILL,
        55..82 => Signal::SIGSTOP,
        _ => Signal::SIGTERM,
    };
    let which = chance.below(1 << 32);
    let all: Vec<Process> =
        processes::all(project).into_iter().filter(|process| process.kind == kind).collect();
    let at = usize::try_from(which).unwrap_or(0).checked_rem(all.len())?;
    Some((all[at].clone(), how))
}

fn signal(project: &Project, process: &Process, how: Signal) {
    // A fault is recorded before it is injected, so that every effect of a fault has a record.
    project.record_fault(InjectedFault {
        at: now(),
        what: format!("{how} to {}", process.pid),
        whom: process.name.clone(),
        service: process.service.clone(),
    });
    if let Ok(pid) = i32::try_from(process.pid) {
        // The process may have exited by itself.
        let _ = kill(Pid::from_raw(pid), how);
    }
}

fn turn_on(project: &Project, trouble: Trouble, chance: &mut Chance) {
    let record = |what: &str, whom: &str| {
        project.record_fault(InjectedFault {
            at: now(),
            what: what.into(),
            whom: whom.into(),
            service: None,
        });
    };
    match trouble {
        Trouble::Nothing => (),
        Trouble::Disk => {
            record("the disk is full", "disk");
            fill(project);
        }
        Trouble::ReadOnly => {
            record("the disk is read-only", "disk");
            let directory = project.state();
            let bind = |flags| {
                mount(Some(&directory), &directory, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>)
            };
            let done = bind(MsFlags::empty()).and_then(|()| bind(MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY));
            if let Err(error) = done {
                project.log(&format!("cannot make the disk read-only: {error}"));
            }
        }
        Trouble::Descriptors => {
            for daemon in processes::all(project).iter().filter(|process| process.kind == Kind::Daemon) {
                let limit = service_tests::descriptors(daemon.pid) as u64 + chance.below(6);
                record(&format!("{} may have {limit} descriptors", daemon.pid), "orchestratord");
                limit_descriptors(daemon.pid, limit);
            }
        }
        Trouble::Power => lose_power(project, chance),
    }
}

fn lose_power(project: &Project, chance: &mut Chance) {
    let (mut before, taken) = (power::files(project), Instant::now());
    sleep(Duration::from_millis(chance.between(200, 1500)));
    let _nobody_begins = project.power.write().unwrap_or_else(PoisonError::into_inner);
    if taken.elapsed() > MAX_UNSYNCED {
        // A starting daemon has delayed the power loss, so writes from before the delay are synced.
        before = power::files(project);
        sleep(Duration::from_millis(chance.between(100, 300)));
    }
    let record = |what: &str| {
        project.record_fault(InjectedFault {
            at: now(),
            what: what.into(),
            whom: "all".into(),
            service: None,
        });
    };
    record("the power fails");
    end_all(project);
    record("power loss");
    power::lose(project, &before, chance);
}

fn turn_off(project: &Project, trouble: Trouble) {
    match trouble {
        Trouble::Nothing | Trouble::Power => (),
        Trouble::Disk => {
            let freed = fs::remove_file(project.state().join("filler"));
            back(project, &format!("the disk has room again: {freed:?}"));
        }
        Trouble::ReadOnly => {
            let written = umount2(&project.state(), MntFlags::MNT_DETACH);
            back(project, &format!("the disk can be written again: {written:?}"));
        }
        Trouble::Descriptors => {
            for daemon in processes::all(project).iter().filter(|process| process.kind == Kind::Daemon) {
                limit_descriptors(daemon.pid, 1024);
            }
        }
    }
}

fn back(project: &Project, what: &str) {
    project.record_fault(InjectedFault { at: now(), what: what.into(), whom: "disk".into(), service: None });
}

fn limit_descriptors(pid: u32, limit: u64) {
    let done =
        Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limit}:")]).output();
    // The daemon may have been killed meanwhile.
    drop(done);
}

/// Writes until the disk is full.
fn fill(project: &Project) {
    let Ok(mut file) = File::create(project.state().join("filler")) else { return };
    for size in [1 << 16, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Kills all processes of the run until none is left.
pub(crate) fn end_all(project: &Project) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = service_tests::marked(&project.root);
        if left.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in left.into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
            // The process may have exited by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(Duration::from_millis(2));
    }
}
