//! The meaning of a state and the remedy: the text of `service why`. The caller supplies facts about the machine, such
//! as the holder of a port.

mod context;
mod next_step;
#[cfg(test)]
mod tests;

pub use context::{Counted, ExplainContext, Runtime};
pub use next_step::{STATE_NOT_WRITTEN, with_step};

use crate::config::{Condition, Manager, Service, name_of};
use crate::health::Health;
use crate::service::{Cause, Exit, Failure, Goal, StartedBy, State};
use crate::snapshot::Snapshot;
use alloc::format;
use alloc::string::{String, ToString};

/// The exit code of `sh` and of many servers for a port in use (`EADDRINUSE`).
const ADDRESS_IN_USE: i32 = 98;
/// The offset that a shell adds to the signal of its command, for an exit code.
const BY_SIGNAL: i32 = 128;

impl<'a> ExplainContext<'a> {
    /// The facts in the definition.
    pub fn new(service: &'a Service) -> Self {
        Self {
            oneshot: service.oneshot,
            origin: service.origin,
            path: service.env.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_str()),
            limit: service.start_timeout(),
            ready: service.ready.log.as_deref(),
            notifies: service.ready.notify,
            managed: service.manager != Manager::Process,
            check_timeout: Some(service.health.timeout),
            runtime: runtime(service),
            memory: service.limits.memory,
            ..Self::default()
        }
    }
}

/// The state of a service in one sentence, and the command that helps, if any.
pub fn explain(name: &str, snapshot: &Snapshot, context: &ExplainContext<'_>) -> (String, Option<String>) {
    let owned = |text: &str| text.to_string();
    let run = |command: &str| Some(format!("run `service {command} {name}`"));
    match (&snapshot.state, snapshot.goal) {
        (State::Stopped, Goal::Down) => match &snapshot.asked {
            Some(asked) => (format!("it was {}", asked.describe("stopped")), run("start")),
            None => (owned("it was not started yet"), run("start")),
        },
        (State::Stopped, Goal::Up | Goal::Restart) => waiting(context, snapshot.reason.as_deref()),
        (State::Launching { .. } | State::Starting { .. }, _) => {
            let text = match context.holder {
                Some(holder) => format!("it is starting, and its port is held by {holder}"),
                None => format!("{}{}", starting(context), describe_previous_exit(snapshot)),
            };
            let is_late = context.check.is_some() || context.ready.is_some();
            let help = format!(
                "run `service wait {name}`, or {}",
                next_step::after_failure(name, &Failure::StartTimeout, context)
            );
            (
                text,
                context.holder.map(free_the_port).or_else(|| if is_late { Some(help) } else { run("wait") }),
            )
        }
        (State::Ready { .. }, Goal::Down) if snapshot.starter == StartedBy::External => (
            owned("it was started outside the orchestrator, which neither stops nor restarts it"),
            Some(format!("run `service start {name}` to adopt it, or `service stop {name}`")),
        ),
        (State::Ready { .. }, Goal::Down | Goal::Restart) => {
            (owned("it runs until its dependents have stopped"), run("wait --for stopped"))
        }
        (State::Ready { .. }, Goal::Up) => match snapshot.health {
            Health::Unhealthy => {
                let help = context.holder.map(free_the_port).or_else(|| run("health"));
                (owned("it runs, and its health checks fail"), help)
            }
            _ if let Some((need, how)) = context.lost => (
                format!("it runs, and depends on `{need}`, {how}"),
                Some(format!("run `service why {need}`")),
            ),
            Health::Pending => (owned("it runs, and no health check has completed yet"), run("health")),
            Health::Alive => {
                (owned("it runs, and no health check is defined"), missing_output(name, context))
            }
            Health::Healthy | Health::None => (owned("all is well"), missing_output(name, context)),
        },
        (State::Stopping { kills: 0, cause: Cause::Failure(failure), .. }, Goal::Up) => (
            format!("{}, and is being ended", describe_failure(failure, context)),
            context
                .holder
                .map(free_the_port)
                .or_else(|| Some(next_step::after_failure(name, failure, context))),
        ),
        (State::Stopping { kills: 0, .. }, _) => (owned("it is stopping"), run("wait --for stopped")),
        (State::Stopping { .. }, _) => (owned("it does not end, not even after SIGKILL"), run("logs")),
        (State::Unknown { why, .. }, _) => (why.clone(), Some(help_for_unknown(name))),
        (State::Backoff { failure, .. }, _) => (
            format!(
                "{}{}, and is started again",
                describe_failure(failure, context),
                describe_port_conflict(context)
            ),
            context
                .holder
                .map(free_the_port)
                .or_else(|| Some(next_step::after_failure(name, failure, context))),
        ),
        (State::Completed { exit, .. }, _) if exit.is_success() && context.oneshot => {
            (format!("all is well: it has done its work{}", describe_leftover(context)), None)
        }
        (State::Completed { exit, .. }, _) if exit.is_success() => (
            format!("it {}{}", describe_exit(*exit), describe_leftover(context)),
            Some(next_step::after_exit(name, context)),
        ),
        (State::Completed { exit, .. }, _) => (format!("it {}", describe_exit(*exit)), run("start")),
        (State::Failed { failure, attempts, .. }, _) => (
            match attempts {
                0 | 1 => format!(
                    "{}{}, and is not started again without a request",
                    describe_failure(failure, context),
                    describe_port_conflict(context)
                ),
                more => format!(
                    "{}{}; after {more} tries it has reached its restart limit, and is not started again \
                     without a request",
                    describe_failure(failure, context),
                    describe_port_conflict(context)
                ),
            },
            context
                .holder
                .map(free_the_port)
                .or_else(|| Some(next_step::after_failure(name, failure, context))),
        ),
    }
}

/// The interpreter of a service. The interpreter matters for Python, whose output stays in a buffer unless the
/// definition prevents this.
fn runtime(service: &Service) -> Runtime {
    let command = &service.start_command;
    let is_python = |word: &str| {
        word.starts_with("python") || word.rsplit_once('.').is_some_and(|(_, extension)| extension == "py")
    };
    let mut words = command.text.split(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | ';'));
    let is_unbuffered = service.env.iter().any(|(name, _)| name == "PYTHONUNBUFFERED")
        || command.text.contains("PYTHONUNBUFFERED")
        || command.text.split_whitespace().any(|word| word == "-u");
    match service.manager == Manager::Process && !is_unbuffered && words.any(is_python) {
        true => Runtime::BufferingPython,
        false => Runtime::Other,
    }
}

/// Why a running Python program has no output.
fn missing_output(name: &str, context: &ExplainContext<'_>) -> Option<String> {
    let is_silent = context.runtime == Runtime::BufferingPython && context.lines == 0;
    is_silent.then(|| next_step::flush_python(name, context))
}

/// The remedy for a service in an unknown state.
pub fn help_for_unknown(name: &str) -> String {
    format!(
        "correct the cause; the daemon checks again every few seconds, and `service status {name}` shows the \
         result"
    )
}

fn waiting(context: &ExplainContext<'_>, reason: Option<&str>) -> (String, Option<String>) {
    match context.need {
        Some((need, Some(_))) => (
            format!("it waits for `{need}`, which does not start by itself"),
            Some(format!("run `service why {need}`")),
        ),
        Some((need, None)) => {
            let reason = reason.filter(|reason| reason.starts_with("waits for "));
            let text =
                reason.map_or_else(|| format!("it waits for `{need}`"), |reason| format!("it {reason}"));
            (text, Some(format!("run `service why {need}`")))
        }
        None => ("it is about to start".to_string(), None),
    }
}

fn free_the_port(holder: &str) -> String {
    format!("end {holder}, or change one of the two ports")
}

/// Names the holder of the port, which is the most likely reason of the service's end.
fn describe_port_conflict(context: &ExplainContext<'_>) -> String {
    context.holder.map(|holder| format!("; its port is held by {holder}")).unwrap_or_default()
}

fn describe_failure(failure: &Failure, context: &ExplainContext<'_>) -> String {
    match failure {
        Failure::Exited(exit) => {
            // For a manager's service, the check has the message that the manager reported.
            let reported = context.check.filter(|_| *exit == Exit::Unreported);
            let reported = reported.map(|message| format!(": {message}")).unwrap_or_default();
            format!("it {}{reported}{}", describe_exit(*exit), describe_leftover(context))
        }
        Failure::LaunchFailed(why) => format!("it could not be launched: {why}"),
        Failure::StartTimeout => {
            let limit =
                context.limit.map_or_else(|| "in time".to_string(), |limit| format!("within {limit:?}"));
            let why = missing_sign(context).map(|why| format!(": {why}")).unwrap_or_default();
            format!("it was not ready {limit}{why}")
        }
        Failure::Unhealthy => match context.check {
            Some(check) => format!("it became unhealthy: {check}"),
            None => format!("it {failure}"),
        },
    }
}

fn describe_leftover(context: &ExplainContext<'_>) -> String {
    context.left.map(|left| format!("; what it left behind was killed: {left}")).unwrap_or_default()
}

fn starting(context: &ExplainContext<'_>) -> String {
    let why = missing_sign(context).map(|why| format!(": {why}")).unwrap_or_default();
    let left = context.left_to_start.map(|left| format!("; {left:.0?} are left")).unwrap_or_default();
    format!("it is starting{why}{left}")
}

/// The end of the previous run, if it is the reason of this start.
fn describe_previous_exit(snapshot: &Snapshot) -> String {
    match snapshot.last_exit {
        Some(exit) if snapshot.restarts > 0 && snapshot.ended.is_none() && !exit.is_success() => {
            format!("; its last run {}", describe_exit(exit))
        }
        _ => String::new(),
    }
}

/// Describes the missing condition of readiness.
pub fn missing_sign(context: &ExplainContext<'_>) -> Option<String> {
    if let Some(pattern) = context.ready {
        if context.lines == 0 {
            return Some(format!("it has written no line, and none matches `ready.log` = `{pattern}`"));
        }
        let last = if context.counted == Counted::Last { "last " } else { "" };
        let said = context.said.map(|said| format!(", the last is `{said}`")).unwrap_or_default();
        return Some(format!(
            "none of its {last}{} lines matches `ready.log` = `{pattern}`{said}",
            context.lines
        ));
    }
    if context.notifies {
        return Some("it has not sent READY=1 (`ready.notify`)".to_string());
    }
    context.check.map(ToString::to_string)
}

/// The remedy after a failed start, from the definition and the state.
pub fn next_step_after_start(service: &Service, state: &State) -> String {
    let (name, context) = (&service.name, &ExplainContext::new(service));
    match state {
        State::Completed { .. } => next_step::after_exit(name, context),
        State::Failed { failure, .. } | State::Backoff { failure, .. } => {
            next_step::after_failure(name, failure, context)
        }
        _ => format!("see `service why {name}`"),
    }
}

/// The name of an edge's condition.
pub fn condition_name(condition: Condition) -> &'static str {
    name_of(&Condition::ALL, condition)
}

/// The exit status of a process, with its usual meaning.
pub fn describe_exit(exit: Exit) -> String {
    match meaning(exit) {
        Some(meaning) => format!("{exit}: {meaning}"),
        None => exit.to_string(),
    }
}

fn meaning(exit: Exit) -> Option<&'static str> {
    Some(match exit {
        Exit::Code(2) => "usually a wrong command line",
        Exit::Code(64) => "wrong command line",
        Exit::Code(77) => "a permission is missing",
        Exit::Code(78) => "invalid configuration",
        Exit::Code(ADDRESS_IN_USE) => "its address is in use",
        Exit::Code(101) => "a panic, if it is written in Rust",
        Exit::Code(126) => "the command was found and cannot be executed",
        Exit::Code(127) => "the command was not found",
        Exit::Code(code) if code > BY_SIGNAL => return signal(code - BY_SIGNAL),
        Exit::Signal(number) | Exit::AcceptedSignal(number) => return signal(number),
        Exit::Code(_) | Exit::OutOfMemory(_) | Exit::Unreported | Exit::Unknown => return None,
    })
}

fn signal(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "its terminal was closed, or SIGHUP was sent",
        2 => "ctrl-c was pressed, or SIGINT was sent",
        4 => "it is not built for this processor, or is corrupt (SIGILL)",
        6 => "it aborted, as after a failed assertion (SIGABRT)",
        7 => "it accessed memory that does not exist (SIGBUS)",
        8 => "it divided by zero (SIGFPE)",
        9 => "it was killed: by the kernel for lack of memory, or by another process (SIGKILL)",
        11 => "it accessed invalid memory (SIGSEGV)",
        13 => "it wrote to a closed pipe or connection (SIGPIPE)",
        15 => "it was asked to end (SIGTERM)",
        24 => "it exceeded its CPU time limit (SIGXCPU)",
        25 => "it exceeded its file size limit (SIGXFSZ)",
        31 => "it made a forbidden system call (SIGSYS)",
        _ => return None,
    })
}
