//! The journal of a project whose daemon does not run, read from its files.

use super::ahead::{Starts, all};
use super::history::{Checks, History};
use super::lines::Shelf;
use super::read::{Past, Question, unreadable};
use service_api::event::{Past as PastRow, Start};
use service_api::{Event, Problem};
use std::path::Path;

fn past(state_dir: &Path) -> Result<Past, Problem> {
    Shelf::at(&super::path(state_dir)).map(Past::of).map_err(|error| unreadable(&error))
}

/// What happened.
pub(crate) fn events(state_dir: &Path, question: &Question) -> Result<Vec<Event>, Problem> {
    past(state_dir)?.find(question)
}

/// What happened to services, and what their checks said.
pub(crate) fn history(state_dir: &Path, question: &Question) -> Result<Vec<PastRow>, Problem> {
    let checks =
        Shelf::at(&super::checks_path(state_dir)).map(Checks::new).map_err(|error| unreadable(&error))?;
    all(History::new(past(state_dir)?, checks, question)?)
}

/// The critical path of starts.
pub(crate) fn starts(state_dir: &Path, question: &Question) -> Result<Vec<Start>, Problem> {
    all(Starts::new(past(state_dir)?, question.clone()))
}
