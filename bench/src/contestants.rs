//! Who is measured: the floor, this project, and the peers that the machine has.

mod dinit;
mod floor;
mod ours;
mod pitchfork;
mod s6;
mod supervisor;
mod systemd;

pub(crate) use floor::{FLOOR, play as play_floor};
pub(crate) use ours::{Daemon, OURS};

use crate::stage::Contestant;
use dinit::Dinit;
use floor::Floor;
use ours::Ours;
use pitchfork::Pitchfork;
use s6::S6;
use std::process::{Child, Command};
use supervisor::Supervisor;
use systemd::Systemd;

/// In the order of the table's columns.
pub(crate) fn all() -> Vec<Box<dyn Contestant>> {
    vec![
        Box::new(Floor),
        Box::new(Ours),
        Box::new(S6),
        Box::new(Supervisor),
        Box::new(Systemd),
        Box::new(Dinit),
        Box::new(Pitchfork),
    ]
}

/// The last word of the first line that a program prints of itself.
fn version(program: &str, ask: &str) -> Option<String> {
    let program = service_tests::installed(program)?;
    let said = Command::new(program).arg(ask).output().ok()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.lines()
        .next()?
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

/// A program that is ended with the stage it serves.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
