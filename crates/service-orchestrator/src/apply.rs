//! Applies a changed file: stops removed services, updates and restarts changed ones, and starts new ones. If a step
//! fails, the apply is rolled back to the previous definitions.

use crate::engine::comparison::{Comparison, starts};
use crate::engine::message::EngineCommand;
use crate::handle::ServiceOrchestrator;
use crate::lookup::state_unknown;
use crate::request::{ApplyOptions, Enacted, Propagate, Request, Verb, on_behalf};
use service_api::{Action, Code, Outcome, Problem};
use service_core::change::{Change, ChangeKind};
use service_core::{Id, Name, Plan};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The steps, in this order.
#[derive(Default)]
struct Steps {
    stop: Vec<Name>,
    restart: Vec<Name>,
    start: Vec<Name>,
    /// The last step, because a new health check may depend on the other steps.
    update: Vec<Name>,
}

impl ServiceOrchestrator {
    /// The changes that another plan would make to the running services, each with the reasons why its apply would be
    /// refused.
    ///
    /// # Errors
    /// [`Code::StateUnknown`] for a service whose state cannot be read; [`Code::DaemonUnreachable`] after a shutdown.
    pub async fn preview(&self, plan: Plan) -> Result<Vec<(Change, Vec<String>)>, Problem> {
        let changes = self.compare(plan.clone()).await?.changes;
        let mut warnings = self.foreseen(&changes, &plan).await;
        let with_warnings = |change: Change| {
            let warnings = warnings.remove(&change.name).unwrap_or_default();
            (change, warnings)
        };
        Ok(changes.into_iter().map(with_warnings).collect())
    }

    /// The difference between another plan and the running services.
    async fn compare(&self, plan: Plan) -> Result<Comparison, Problem> {
        self.call(|reply| EngineCommand::ReadPresence { reply }).await?.compared(plan).await
    }

    /// Replaces the plan by this one, if `enact` accepts it, and then changes the services. An apply runs to its end
    /// even if no client reads the rows. If the result has no rows, the file has changed meanwhile and nothing was
    /// done.
    ///
    /// # Errors
    /// [`Code::ManagerDisabled`], [`Code::StartFailed`], and the errors of `enact`. Nothing was done then.
    pub async fn apply(
        &self,
        plan: Plan,
        how: ApplyOptions,
        enact: impl Future<Output = Result<Enacted, Problem>>,
    ) -> Result<Option<UnboundedReceiver<Outcome>>, Problem> {
        if !plan.settings().manager_enabled {
            return Err(Problem::new(Code::ManagerDisabled, "cannot apply: `manager_enabled` is false")
                .help("set `manager_enabled = true` under [orchestrator.services] in services.toml"));
        }
        let before = self.compare(plan.clone()).await?;
        refuse_unclear(&before, &Steps::forward(&before, how.start), &plan)?;
        self.check_apply(&before.changes, &plan, how.start).await?;
        self.call(|reply| EngineCommand::SetApplying { begins: true, reply }).await?;
        let enacted = enact.await;
        if !matches!(enacted, Ok(Enacted::Yes)) {
            self.call(|reply| EngineCommand::SetApplying { begins: false, reply }).await?;
            return enacted.map(|_| None);
        }
        let (rows, receiver) = unbounded_channel();
        let orchestrator = self.clone();
        // The task ends without an owner, because each of its steps completes or times out.
        tokio::spawn(async move {
            orchestrator.carry_out(Arc::new(before), how, &rows).await;
            let _ = orchestrator.call(|reply| EngineCommand::SetApplying { begins: false, reply }).await;
            drop(rows);
        });
        Ok(Some(receiver))
    }

    async fn carry_out(&self, before: Arc<Comparison>, how: ApplyOptions, rows: &UnboundedSender<Outcome>) {
        let steps = Steps::forward(&before, how.start);
        let planned = before.requests.count();
        let applied = self.run_steps(steps, planned, &how, |row| with_rollback_help(row, &how), rows).await;
        if applied || !how.rollback {
            let is_left = |change: &&Change| change.kind == ChangeKind::Add && !starts(change, how.start);
            for change in before.changes.iter().filter(is_left) {
                let _ = rows.send(defined(&change.name));
            }
            let _ = self.call(|reply| EngineCommand::Applied { reply }).await;
            return;
        }
        let back = |row: Outcome| match row.ok {
            true => Outcome { action: Action::RolledBack, named: false, ..row },
            false => Outcome { named: false, ..row },
        };
        if let Err(problem) = self.roll_back(&before, &how, back, rows).await {
            tracing::error!(%problem, "cannot roll back");
            for name in before.present.keys() {
                let _ = rows.send(failure(name, &problem));
            }
        }
    }

    /// Restores the previous definitions and the previously running services. A service with a later request keeps the
    /// result of that request.
    async fn roll_back(
        &self,
        before: &Arc<Comparison>,
        how: &ApplyOptions,
        back: impl Fn(Outcome) -> Outcome,
        rows: &UnboundedSender<Outcome>,
    ) -> Result<(), Problem> {
        let planned = before.requests.count();
        let (by, last) = (on_behalf(), Arc::clone(before));
        let (presence, plan) =
            self.call(|reply| EngineCommand::RollBack { before: last, by, reply }).await??;
        let now = presence.compared(plan).await?;
        let is_up = |name: &Name| now.present.contains_key(name);
        let was_up = |name: &Name| before.present.contains_key(name);
        let is_wished = |name: &Name| now.requests.has_since(name, planned);
        let mut steps = Steps::forward(&now, false);
        steps.stop.extend(now.present.keys().filter(|name| !was_up(name)).cloned());
        steps.stop.retain(|name| !is_wished(name));
        steps.restart.retain(was_up);
        steps.start =
            before.present.keys().filter(|name| !is_up(name) && !is_wished(name)).cloned().collect();
        // There is no preflight check before a rollback, because the failed services have already stopped.
        self.run_steps(steps, now.requests.count(), how, back, rows).await;
        Ok(())
    }

    /// Runs the steps. Returns whether all succeeded. After a failure no further step begins.
    async fn run_steps(
        &self,
        steps: Steps,
        planned: u64,
        how: &ApplyOptions,
        shown: impl Fn(Outcome) -> Outcome,
        rows: &UnboundedSender<Outcome>,
    ) -> bool {
        let show = |row: Outcome| {
            let ok = row.ok;
            // The client may have disconnected.
            let _ = rows.send(shown(row));
            ok
        };
        for name in steps.stop {
            if !self.run_step(Verb::Stop, vec![name], planned, how, &show).await {
                return false;
            }
        }
        self.run_step(Verb::Restart, steps.restart, planned, how, &show).await
            && self.run_step(Verb::Start, steps.start, planned, how, &show).await
            && self.run_step(Verb::Update, steps.update, planned, how, &show).await
    }

    async fn run_step(
        &self,
        verb: Verb,
        names: Vec<Name>,
        planned: u64,
        how: &ApplyOptions,
        show: &impl Fn(Outcome) -> bool,
    ) -> bool {
        if names.is_empty() {
            return true;
        }
        // Removed services are stopped in their own step, without their dependents.
        let relatives = Some(if verb == Verb::Stop { Propagate::No } else { Propagate::Yes });
        let requested = names.iter().map(ToString::to_string).collect();
        let mut all_well = true;
        let wait = how.wait;
        let request = Request { relatives, wait, planned: Some(planned), ..Request::new(verb, requested) };
        match self.request(request.for_command("service apply").by(&how.by)).await {
            Ok(mut outcomes) => {
                while let Some(row) = outcomes.recv().await {
                    all_well &= show(row);
                }
            }
            Err(problem) => {
                all_well = false;
                for name in &names {
                    show(failure(name, &problem));
                }
            }
        }
        all_well
    }
}

/// Refuses an apply that would stop, start or wait for a service in an unknown state.
fn refuse_unclear(before: &Comparison, steps: &Steps, plan: &Plan) -> Result<(), Problem> {
    let moved = steps.restart.iter().chain(&steps.start);
    let ids: Vec<Id> = moved.filter_map(|name| plan.id(name)).collect();
    let affected = plan.with_dependencies(&plan.with_dependents(&ids));
    let affected = affected.iter().map(|id| &plan.service(*id).name);
    let mut names = steps.stop.iter().chain(&steps.update).chain(affected);
    match names.find_map(|name| Some((name, before.unclear.get(name)?))) {
        Some((name, why)) => Err(state_unknown("apply the changes of", name, why)),
        None => Ok(()),
    }
}

impl Steps {
    fn forward(comparison: &Comparison, start: bool) -> Self {
        let mut steps = Self::default();
        // The services are restarted together with their dependencies in the new plan.
        let along: BTreeSet<&Name> = comparison.changes.iter().flat_map(|change| &change.affects).collect();
        for change in &comparison.changes {
            let step = match change.kind {
                ChangeKind::Remove => &mut steps.stop,
                ChangeKind::Update if along.contains(&change.name) => continue,
                ChangeKind::Update => &mut steps.update,
                ChangeKind::Restart => &mut steps.restart,
                ChangeKind::Add if starts(change, start) => &mut steps.start,
                ChangeKind::Add | ChangeKind::None => continue,
            };
            step.push(change.name.clone());
        }
        steps
    }
}

/// Replaces the help of a failed row, because the apply is rolled back and does not continue.
fn with_rollback_help(row: Outcome, how: &ApplyOptions) -> Outcome {
    let taken_back = |problem: Problem| match problem.code {
        Code::Timeout if how.rollback => {
            problem.help("the former services run again; see `service status --long`")
        }
        Code::StartFailed if how.rollback => {
            let back = "the former services run again, and `service apply` tries again";
            // The message without its part about the next retry, because the apply is rolled back.
            let kept = |text: &String, end: &str| text.split(end).next().unwrap_or_default().to_owned();
            let help = problem.help.as_ref().map(|help| kept(help, "; `service wait "));
            let help = help.map_or_else(|| back.to_owned(), |help| format!("{help}; {back}"));
            let message = kept(&problem.message, "; trying again");
            Problem { message, ..problem }.help(help)
        }
        _ => problem,
    };
    Outcome { error: row.error.map(taken_back), ..row }
}

/// The row of a new service that is not started.
fn defined(name: &Name) -> Outcome {
    Outcome::new(name, Action::Added, "stopped")
}

fn failure(name: &Name, problem: &Problem) -> Outcome {
    Outcome::new(name, Action::Failed, "unknown").with_error(Some(problem.clone()))
}
