//! [`CommandResult`]: decides whether the rows of a start, stop or restart make the command fail, and builds the error.
//!
//! Nushell shows no rows of a table that ends with an error, so the error contains the information of the rows.

use super::action::ActionKind;
use nu_protocol::{LabeledError, Span, Spanned};
use service_api::{Action, Code, Outcome, Problem};
use service_nushell::error::{label, labeled_at};

/// The limit of services that an error lists.
const MAX_LISTED: usize = 5;
/// The limit of failed services whose cause an error contains.
const MAX_CAUSE_COUNT: usize = 30;
/// The minimum number of rows for which a summary line is printed.
const MIN_SUMMARY_ROWS: usize = 5;
/// The limit of successful services that an error lists.
const MAX_LISTED_OK: usize = 12;

/// The rows so far.
pub(super) struct CommandResult {
    action: ActionKind,
    strict: bool,
    named_ok: bool,
    failed: Vec<Outcome>,
    /// The successful services, grouped by action, in the order of the actions.
    done: Vec<(Action, Vec<String>)>,
}

impl CommandResult {
    /// An empty result. With `strict`, any failure is an error, and not only the failure of all named services.
    pub(super) fn new(action: ActionKind, strict: bool) -> Self {
        Self { action, strict, named_ok: false, failed: Vec::new(), done: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.named_ok |= outcome.named && outcome.ok;
        if !outcome.ok {
            self.failed.push(outcome.clone());
            return;
        }
        let name = format!("`{}`", outcome.name);
        if outcome.action == Action::RolledBack {
            // The rollback has undone the earlier action of the service.
            self.done.iter_mut().for_each(|(_, names)| names.retain(|done| *done != name));
            self.done.retain(|(_, names)| !names.is_empty());
        }
        match self.done.iter_mut().find(|(action, _)| *action == outcome.action) {
            Some((_, names)) => names.push(name),
            None => self.done.push((outcome.action, vec![name])),
        }
    }

    /// The number of successes and the names of the failures, if there are many rows.
    pub(super) fn short_summary(&self) -> Option<String> {
        let well: usize = self.done.iter().map(|(_, names)| names.len()).sum();
        let (failed, all) = (self.failed.len(), well + self.failed.len());
        if failed == 0 || all < MIN_SUMMARY_ROWS {
            return None;
        }
        let names: Vec<&str> =
            self.failed.iter().take(MAX_LISTED).map(|outcome| outcome.name.as_str()).collect();
        let more =
            if failed > MAX_LISTED { format!(" and {} more", failed - MAX_LISTED) } else { String::new() };
        Some(format!(
            "{well} of {all} {}, {failed} failed: {}{more}",
            self.action.past_tense(),
            names.join(", ")
        ))
    }

    /// The error after the last row, with a label at each failed name. The error also contains the problems of failed
    /// dependencies.
    pub(super) fn error(&self, names: &[Spanned<String>], head: Span) -> Option<LabeledError> {
        let mut error = self.failure(names, head)?;
        let done: Vec<String> =
            self.done.iter().map(|(action, names)| describe_done(*action, names)).collect();
        if !done.is_empty() {
            error.msg = format!("{}\n\n{}", error.msg, done.join("\n"));
        }
        Some(error)
    }

    fn failure(&self, names: &[Spanned<String>], head: Span) -> Option<LabeledError> {
        let counts = |outcome: &&Outcome| self.strict || (outcome.named && !self.named_ok);
        let (failed, relatives): (Vec<_>, Vec<_>) = self.failed.iter().partition(counts);
        let mark =
            |outcome: &Outcome| names.iter().find(|name| name.item == outcome.name).map(|name| name.span);
        match failed.as_slice() {
            [] => None,
            [one] => Some(labeled_at(&self.problem(one, &relatives), mark(one).unwrap_or(head))),
            several => {
                let mut error = labeled_at(&self.summary(several, &relatives), head);
                let marked: Vec<_> =
                    several.iter().filter_map(|outcome| Some((outcome, mark(outcome)?))).collect();
                if !marked.is_empty() {
                    error.labels.clear();
                }
                Some(marked.into_iter().fold(error, |error, (outcome, span)| {
                    error.with_label(label(self.problem(outcome, &[]).code), span)
                }))
            }
        }
    }

    /// The problem of one service, with the problems of its dependencies that its message does not mention.
    fn problem(&self, outcome: &Outcome, relatives: &[&Outcome]) -> Problem {
        let mut problem = outcome.error.clone().unwrap_or_else(|| {
            Problem::new(Code::Internal, format!("cannot {} `{}`", self.action.as_str(), outcome.name))
        });
        let unsaid = |relative: &&&Outcome| !problem.message.contains(&format!("`{}`", relative.name));
        let others: Vec<_> = relatives
            .iter()
            .filter(unsaid)
            .take(MAX_LISTED)
            .map(|relative| self.problem(relative, &[]))
            .collect();
        problem.others.extend(others);
        problem
    }

    /// One problem for several services: a line with their names, the code of the first one, and the problem of each
    /// with its help.
    fn summary(&self, failed: &[&Outcome], relatives: &[&Outcome]) -> Problem {
        let names: Vec<_> =
            failed.iter().take(MAX_LISTED).map(|outcome| format!("`{}`", outcome.name)).collect();
        let more = if failed.len() > MAX_LISTED { ", ..." } else { "" };
        let causes: Vec<_> = failed.iter().take(MAX_CAUSE_COUNT).map(|one| self.problem(one, &[])).collect();
        let mut summary = Problem::new(
            causes[0].code,
            format!("cannot {} {}{more}", self.action.as_str(), names.join(", ")),
        );
        let unsaid = |relative: &&&Outcome| {
            let name = format!("`{}`", relative.name);
            !causes.iter().any(|cause| cause.message.contains(&name))
        };
        let explaining: Vec<_> = relatives
            .iter()
            .filter(unsaid)
            .take(MAX_LISTED)
            .map(|relative| self.problem(relative, &[]))
            .collect();
        let untold = failed.len().saturating_sub(MAX_CAUSE_COUNT);
        let rest = (untold > 0).then(|| {
            Problem::new(Code::Internal, format!("and {untold} more failed")).help("run `service why`")
        });
        summary.others = causes.into_iter().chain(explaining).chain(rest).collect();
        summary
    }
}

/// The line for the services of one action.
fn describe_done(action: Action, names: &[String]) -> String {
    let label = match action {
        Action::RolledBack => "as before",
        action => action.as_str(),
    };
    let listed = names[..names.len().min(MAX_LISTED_OK)].join(", ");
    let more = names.len().saturating_sub(MAX_LISTED_OK);
    if more > 0 { format!("{label}: {listed} and {more} more") } else { format!("{label}: {listed}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, ok: bool, named: bool) -> Outcome {
        let problem = Problem::new(Code::StartFailed, format!("cannot start `{name}`: no"));
        let error = (!ok).then_some(problem);
        let [status, health] = ["running", "none"].map(String::from);
        Outcome {
            name: name.into(),
            ok,
            action: Action::Started,
            status,
            health,
            took_ms: 0.0,
            named,
            error,
            note: None,
        }
    }

    fn error(strict: bool, outcomes: &[Outcome]) -> Option<LabeledError> {
        let mut result = CommandResult::new(ActionKind::Start, strict);
        for outcome in outcomes {
            result.add(outcome);
        }
        let names = [("a", 20), ("b", 22)];
        let names = names.map(|(item, at)| Spanned { item: item.into(), span: Span::new(at, at + 1) });
        result.error(&names, Span::new(0, 5))
    }

    #[test]
    fn partial_failure_is_data_unless_strict() {
        let outcomes = [outcome("a", true, true), outcome("b", false, true)];
        assert!(error(false, &outcomes).is_none());
        let error = error(true, &outcomes).unwrap();
        assert_eq!(error.msg, "cannot start `b`: no\n\nstarted: `a`");
        assert_eq!(error.labels[0].span, Span::new(22, 23));
    }

    #[test]
    fn of_many_a_line_tells_how_many_failed_and_who() {
        let short_summary = |failed: usize, all: usize| {
            let mut result = CommandResult::new(ActionKind::Start, false);
            (0..all).for_each(|nth| result.add(&outcome(&format!("s{nth}"), nth >= failed, true)));
            result.short_summary()
        };
        assert_eq!(short_summary(2, 30).unwrap(), "28 of 30 started, 2 failed: s0, s1");
        assert_eq!(short_summary(7, 8).unwrap(), "1 of 8 started, 7 failed: s0, s1, s2, s3, s4 and 2 more");
        assert_eq!((short_summary(0, 30), short_summary(1, 4)), (None, None));
    }

    #[test]
    fn what_is_as_before_was_not_done() {
        let back = Outcome { action: Action::RolledBack, ..outcome("a", true, false) };
        let error = error(true, &[outcome("a", true, true), outcome("b", false, true), back]).unwrap();
        assert_eq!(error.msg, "cannot start `b`: no\n\nas before: `a`");
    }

    #[test]
    fn a_failed_relative_is_no_error_of_its_own_but_explains_one() {
        let dep = outcome("dep", false, false);
        assert!(error(false, &[dep.clone(), outcome("a", true, true)]).is_none());
        let error = error(false, &[dep, outcome("a", false, true)]).unwrap();
        assert_eq!(error.msg, "cannot start `a`: no\n\ncannot start `dep`: no");
    }

    #[test]
    fn the_failure_of_all_that_were_named_is_an_error_with_a_mark_at_each() {
        let outcomes = [outcome("dep", false, false), outcome("a", false, true), outcome("b", false, true)];
        let error = error(false, &outcomes).unwrap();
        assert_eq!(error.code.as_deref(), Some("service::start_failed"));
        let all =
            "cannot start `a`, `b`\n\ncannot start `a`: no\n\ncannot start `b`: no\n\ncannot start `dep`: no";
        assert_eq!(error.msg, all);
        let marks: Vec<_> = error.labels.iter().map(|label| (label.text.as_str(), label.span)).collect();
        assert_eq!(marks, [("did not start", Span::new(20, 21)), ("did not start", Span::new(22, 23))]);
    }

    #[test]
    fn of_several_that_failed_each_has_its_cause_its_log_and_its_help() {
        let failed = |name: &str| {
            let mut outcome = outcome(name, false, true);
            let problem = outcome.error.as_mut().unwrap();
            problem.log = vec![format!("boom {name}")];
            problem.help = Some(format!("mend {name}"));
            outcome
        };
        for names in [["a", "b"], ["x", "y"]] {
            let error = error(true, &names.map(failed)).unwrap();
            assert_eq!(error.help, None);
            for name in names {
                let whole = format!("\n\ncannot start `{name}`: no\n  | boom {name}\nhelp: mend {name}");
                assert!(error.msg.contains(&whole), "{}", error.msg);
            }
        }
        let many: Vec<Outcome> = (0..33).map(|nth| failed(&format!("s{nth}"))).collect();
        let error = error(true, &many).unwrap();
        assert!(error.msg.starts_with("cannot start `s0`, `s1`, `s2`, `s3`, `s4`, ...\n\n"), "{}", error.msg);
        assert!(error.msg.ends_with("\n\nand 3 more failed\nhelp: run `service why`"), "{}", error.msg);
        assert_eq!(error.msg.matches("boom").count(), 30);
    }
}
