//! Adds explanations to the rows of services that did not reach the requested state: the remedy, and the last log
//! lines.
//!
//! The engine itself must not wait for a disk, so it reads neither logs nor ports. The engine's rows are therefore
//! completed here.

use crate::explain::{self, Explanation, Lines};
use crate::handle::ServiceOrchestrator;
use service_api::{Code, Outcome, Problem};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

impl ServiceOrchestrator {
    /// Adds the explanation of `service why` to each of these rows.
    pub fn explained(&self, mut rows: UnboundedReceiver<Outcome>) -> UnboundedReceiver<Outcome> {
        let (told, receiver) = unbounded_channel();
        let orchestrator = self.clone();
        tokio::spawn(async move {
            loop {
                let row = tokio::select! {
                    row = rows.recv() => row,
                    // The reader has disconnected. The drop of `rows` ends the sender.
                    () = told.closed() => None,
                };
                let Some(row) = row else { break };
                let row = orchestrator.explain(row, Lines::Shown).await;
                let _ = told.send(row);
            }
        });
        receiver
    }

    /// Adds the explanation of `service why` to a row.
    pub async fn explain(&self, mut row: Outcome, lines: Lines) -> Outcome {
        let Some(problem) = row.error.take_if(|problem| is_about_a_start(problem)) else { return row };
        let (fleet, paths, name) = (self.fleet_snapshot(), Arc::clone(self.paths()), row.name.clone());
        let cause = tokio::task::spawn_blocking(move || explain::cause(&fleet, &name, &paths, lines)).await;
        row.error = Some(match cause {
            Ok(Some(cause)) => with(problem, cause),
            Ok(None) | Err(_) => problem,
        });
        row
    }
}

fn is_about_a_start(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::StartFailed | Code::Storage | Code::DependencyFailed | Code::Timeout | Code::Never
    )
}

fn with(problem: Problem, Explanation { detail, help, lines }: Explanation) -> Problem {
    let message = match detail {
        Some(detail) => format!("{}: {detail}", problem.message),
        None => problem.message,
    };
    // The help of the explanation replaces the note that the daemon continues.
    Problem { message, help: help.or(problem.help), log: lines, ..problem }
}
