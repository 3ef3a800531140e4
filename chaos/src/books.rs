//! The books: the records that the services themselves have written of their runs.

use crate::project::Project;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{self, File, OpenOptions};
use std::io::Read;

/// One run, as its service recorded it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) pid: u32,
    pub(crate) started: u64,
    pub(crate) begin: i64,
    pub(crate) ready: Option<i64>,
    /// When the service recorded its exit, with the code. A killed service records nothing.
    pub(crate) end: Option<(i64, i64)>,
    /// Other processes that the run found.
    pub(crate) twice: Option<String>,
}

impl Run {
    /// Whether the process of the run exists now.
    pub(crate) fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ').collect();
        let started = fields.get(19).and_then(|ticks| ticks.parse::<u64>().ok());
        // The main thread may be a zombie while other threads hold the files of the process.
        let has_exited = fields.first().is_some_and(|state| *state == "Z" || *state == "X")
            && fields.get(17).is_none_or(|threads| *threads == "1" || *threads == "0");
        started == Some(self.started) && !has_exited
    }
}

/// The runs of a service, in the order of their beginnings.
pub(crate) fn runs(project: &Project, name: &str) -> Vec<Run> {
    let text = fs::read_to_string(project.books().join(format!("{name}.book"))).unwrap_or_default();
    let mut runs: Vec<Run> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [at, number, pid, what, rest @ ..] = words.as_slice() else { continue };
        let (Ok(at), Ok(number), Ok(pid)) = (at.parse::<i64>(), number.parse::<u64>(), pid.parse::<u32>())
        else {
            continue;
        };
        let value = rest.first().and_then(|value| value.parse::<i64>().ok());
        if *what == "begin" {
            let started = value.and_then(|ticks| ticks.try_into().ok()).unwrap_or(0);
            runs.push(Run { number, pid, started, begin: at, ready: None, end: None, twice: None });
            continue;
        }
        let Some(run) = runs.iter_mut().rev().find(|run| run.pid == pid && run.number == number) else {
            continue;
        };
        match *what {
            "ready" => run.ready = Some(at),
            "end" => run.end = Some((at, value.unwrap_or(-1))),
            "twice" => run.twice = Some(rest.join(" ")),
            _ => (),
        }
    }
    runs
}

/// The number of complete lines of each run, by run number.
pub(crate) fn counts(project: &Project, name: &str) -> Vec<u64> {
    let mut bytes = Vec::new();
    let file = File::open(project.books().join(format!("{name}.counts")));
    // The file is missing if the service wrote no lines.
    let _ = file.and_then(|mut file| file.read_to_end(&mut bytes));
    bytes.chunks_exact(8).map(|eight| eight.try_into().map_or(0, u64::from_le_bytes)).collect()
}

/// Whether a process holds a lock of this service, as the kernel reports it.
pub(crate) fn is_held(project: &Project, name: &str, which: &str) -> bool {
    let path = project.books().join(format!("{name}.{which}"));
    let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { return false };
    let mut asked = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or(1),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or(0),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let answered = fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked));
    answered.is_ok() && i32::from(asked.l_type) != libc::F_UNLCK
}
