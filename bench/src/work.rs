//! The works that are measured. Each is played by one contestant at a time on a stage of its own, and gives figures.

mod burst;
mod chains;
mod checks;
mod cold;
mod core;
mod idle;
mod independent;

use crate::herald::Herald;
use crate::process;
use crate::stage::{Contestant, Part, Stage};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// One figure of one play: the row of the table, and the value in its unit.
pub(crate) type Figure = (&'static str, f64);

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// The most that this project may take.
    pub(crate) goal: Goal,
}

/// What is asked of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// So many times the floor, at most.
    Floor(f64),
    /// So many of its unit, at most.
    Most(f64),
}

/// What one contestant can be asked to play.
pub(crate) struct Work {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    pub(crate) rows: &'static [Row],
    /// `None` if the contestant has no way to do it.
    pub(crate) play: fn(&dyn Contestant) -> Option<Vec<Figure>>,
}

pub(crate) fn all() -> Vec<Work> {
    vec![
        independent::HUNDRED,
        independent::FIVE_HUNDRED,
        chains::CHAIN,
        chains::LAYERS,
        idle::IDLE,
        checks::CHECKS,
        burst::BLOCKS,
        burst::LINES,
        cold::COLD,
        core::CORE,
    ]
}

/// Where one play happens.
pub(crate) struct House {
    directory: Option<tempfile::TempDir>,
    pub(crate) herald: Herald,
}

/// Directories of plays that are over. They are removed in the end: for some seconds after files were removed `ext4` takes
/// ten times as long to make a new one, and the next to play would pay for that.
static ATTIC: Mutex<Vec<tempfile::TempDir>> = Mutex::new(Vec::new());

/// Clears up after all plays.
pub(crate) struct Attic;

impl Drop for Attic {
    fn drop(&mut self) {
        ATTIC.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        ATTIC.lock().unwrap_or_else(PoisonError::into_inner).extend(self.directory.take());
    }
}

impl House {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let herald = Herald::new(directory.path());
        Self { directory: Some(directory), herald }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.as_ref().expect("it has one until it is dropped").path()
    }

    /// A service that runs the payload with these words.
    pub(crate) fn part(&self, index: usize, words: &[&str]) -> Part {
        let payload = service_tests::program("payload").display().to_string();
        let command =
            [payload, self.herald.address()].into_iter().chain(words.iter().map(ToString::to_string));
        Part {
            name: format!("s{index}"),
            command: command.collect(),
            needs: Vec::new(),
            port: None,
            check: None,
            ends: false,
        }
    }

    /// So many that depend on nothing and say when they are alive.
    pub(crate) fn independent(&self, count: usize) -> Vec<Part> {
        (0..count).map(|index| self.part(index, &["alive"])).collect()
    }

    pub(crate) fn raise(&self, contestant: &dyn Contestant, parts: &[Part]) -> Option<Box<dyn Stage>> {
        contestant.raise(parts, self.path())
    }

    /// What the contestant's own processes have used.
    pub(crate) fn used(&self) -> process::Use {
        process::Use::of(&process::of(self.path()))
    }
}

/// Milliseconds since then.
pub(crate) fn since(begun: std::time::Instant, ended: std::time::Instant) -> f64 {
    ended.duration_since(begun).as_secs_f64() * 1e3
}
