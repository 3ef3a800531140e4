//! Converts problems to Nushell errors: the code `service::<code>`, a label at the named service, and the help.

use nu_protocol::{LabeledError, Span, Spanned};
use service_api::{Code, Problem};
use std::fmt::Write;

/// The error for a problem. The label is at the first of `names` that the message mentions; without one, at `head`.
pub fn labeled(problem: &Problem, names: &[Spanned<String>], head: Span) -> LabeledError {
    let meant = names.iter().find(|name| problem.message.contains(&format!("`{}`", name.item)));
    labeled_at(problem, meant.map_or(head, |name| name.span))
}

/// The error for a problem with its label at `span`.
pub fn labeled_at(problem: &Problem, span: Span) -> LabeledError {
    let error =
        LabeledError::new(text(problem)).with_code(code(problem.code)).with_label(label(problem.code), span);
    match &problem.help {
        Some(help) => error.with_help(help),
        None => error,
    }
}

/// An error about the call itself, before any request is sent.
pub fn invalid_call(code: &str, message: &str, label: &str, span: Span) -> LabeledError {
    LabeledError::new(message).with_code(format!("service::{code}")).with_label(label, span)
}

/// The problem as the text of a table cell.
pub fn cell(problem: &Problem) -> String {
    let lines = problem.log.iter().fold(String::new(), |lines, line| lines + "\n| " + line);
    match &problem.help {
        Some(help) if lines.is_empty() => format!("{} ({help})", problem.message),
        Some(help) => format!("{}{lines}\n({help})", problem.message),
        None => format!("{}{lines}", problem.message),
    }
}

/// The code in the form for scripts.
pub fn code(code: Code) -> String {
    format!("service::{}", code.as_str())
}

/// The message, the line of the file, and further problems. The help of the first problem is not included: Nushell
/// shows it separately.
fn text(problem: &Problem) -> String {
    let mut text = problem.message.clone();
    if let Some(place) = &problem.place {
        let _ = write!(text, "\n{place}"); // writing to a string cannot fail
    }
    for line in &problem.log {
        let _ = write!(text, "\n  | {line}");
    }
    for other in &problem.others {
        let _ = write!(text, "\n\n{other}");
    }
    text
}

/// The text of the label for a code.
pub fn label(code: Code) -> &'static str {
    match code {
        Code::NotFound => "no service of this name",
        Code::BadDefinition => "needs a valid services.toml",
        Code::NoProject => "needs a services.toml",
        Code::UntrustedFile => "needs a services.toml of your own",
        Code::ManagerDisabled => "not while `manager_enabled` is false",
        Code::DependencyNotRunning => "needs a service that is not running",
        Code::DependencyFailed => "needs a service that failed",
        Code::StartFailed => "did not start",
        Code::StopFailed => "did not stop",
        Code::ManagerFailed => "its manager does not answer",
        Code::TooMuch => "request fewer lines",
        Code::Timeout => "not done in time",
        Code::Never => "this state can no longer be reached",
        Code::Cancelled => "another request asked for the opposite",
        Code::NameTaken => "this name is in use",
        Code::Exists => "the file exists",
        Code::BadRequest => "refused",
        Code::Gap => "not in the journal",
        Code::TooSlow => "events were read too slowly",
        Code::Unauthorized => "needs a token",
        Code::Forbidden => "not allowed",
        Code::TooLarge => "request too large",
        Code::Busy => "too many streams, readers or open files",
        Code::DaemonUnreachable => "needs the daemon",
        Code::Unfit => "the daemon cannot work",
        Code::Storage => "the state directory is not writable",
        Code::StateUnknown => "unknown whether it runs",
        Code::Moved => "running under the former path",
        Code::NoSystemd => "needs a systemd for this user",
        Code::VersionMismatch => "needs a daemon of the same version",
        Code::Internal => "failed here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_api::SourceLocation;

    fn name(item: &str, at: usize) -> Spanned<String> {
        Spanned { item: item.into(), span: Span::new(at, at + item.len()) }
    }

    #[test]
    fn the_mark_is_under_the_name_that_is_meant() {
        let problem = Problem::new(Code::NotFound, "no service `wbe`").help("did you mean `web`?");
        let error = labeled(&problem, &[name("db", 14), name("wbe", 17)], Span::new(0, 13));
        assert_eq!(error.labels[0].span, Span::new(17, 20));
        assert_eq!(error.code.as_deref(), Some("service::not_found"));
        assert_eq!(error.help.as_deref(), Some("did you mean `web`?"));
    }

    #[test]
    fn a_problem_of_the_whole_project_is_marked_at_the_command_and_shows_the_line() {
        let place = SourceLocation {
            file: "services.toml".into(),
            line: 3,
            column: 1,
            width: 4,
            snippet: "prot = 1".into(),
        };
        let problem = Problem::new(Code::BadDefinition, "unknown key `prot`").at(place);
        let error = labeled(&problem, &[name("web", 14)], Span::new(0, 13));
        assert_eq!(error.labels[0].span, Span::new(0, 13));
        assert_eq!(error.msg, "unknown key `prot`\n --> services.toml:3:1\n3 | prot = 1\n  | ^^^^");
    }
}
