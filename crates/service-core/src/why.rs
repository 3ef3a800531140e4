//! What a state means and what would help: the words of `service why`. What the world knows (who holds a port) comes in.

mod facts;
mod step;

pub use facts::Facts;
pub use step::STATE_NOT_WRITTEN;

use crate::config::{Condition, Manager, Service, word};
use crate::health::Health;
use crate::service::{Cause, Exit, Failure, Goal, Starter, State};
use crate::snapshot::Snapshot;
use alloc::format;
use alloc::string::{String, ToString};

/// The code of `sh` and of many servers for a port that is taken (`EADDRINUSE`).
const ADDRESS_IN_USE: i32 = 98;
/// A shell adds this to the signal that ended its command.
const BY_SIGNAL: i32 = 128;

impl<'a> Facts<'a> {
    /// What the definition alone tells.
    pub fn of(service: &'a Service) -> Self {
        Self {
            oneshot: service.oneshot,
            origin: service.origin,
            path: service.env.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_str()),
            limit: service.start_timeout(),
            ready: service.ready.log.as_deref(),
            notifies: service.ready.notify,
            managed: service.manager != Manager::Process,
            ..Self::default()
        }
    }
}

/// How a service is, in one sentence; and the command that would help, if anything is to be helped.
pub fn explain(name: &str, snapshot: &Snapshot, facts: &Facts<'_>) -> (String, Option<String>) {
    let say = |text: &str| text.to_string();
    let run = |command: &str| Some(format!("run `service {command} {name}`"));
    match (&snapshot.state, snapshot.goal) {
        (State::Stopped, Goal::Down) => match &snapshot.asked {
            Some(asked) => (format!("it was {}", asked.describe("stopped")), run("start")),
            None => (say("it was not started yet"), run("start")),
        },
        (State::Stopped, Goal::Up | Goal::Again) => waiting(facts),
        (State::Launching { .. } | State::Starting { .. }, _) => {
            let text = match facts.holder {
                Some(holder) => format!("it is starting, and the port it wants is held by {holder}"),
                None => starting(facts),
            };
            let is_late = facts.check.is_some() || facts.ready.is_some();
            let help =
                format!("run `service wait {name}`, or {}", step::after(name, &Failure::StartTimeout, facts));
            (text, facts.holder.map(free_the_port).or_else(|| if is_late { Some(help) } else { run("wait") }))
        }
        (State::Ready { .. }, Goal::Down) if snapshot.starter == Starter::Others => (
            say(
                "it runs, and somebody else started it; nobody here stops it, or starts it again when it ends",
            ),
            Some(format!("run `service start {name}` to take it over, or `service stop {name}`")),
        ),
        (State::Ready { .. }, Goal::Down | Goal::Again) => {
            (say("it runs until its dependents have stopped"), run("wait --for stopped"))
        }
        (State::Ready { .. }, Goal::Up) => match snapshot.health {
            Health::Unhealthy => {
                let help = facts.holder.map(free_the_port).or_else(|| run("health"));
                (say("it runs, and its checks fail"), help)
            }
            _ if let Some((need, how)) = facts.lost => {
                (format!("it runs, and needs `{need}`, {how}"), Some(format!("run `service why {need}`")))
            }
            Health::Pending => (say("it runs, and no check has decided yet"), run("health")),
            Health::Alive => (say("it runs, and no health check is defined"), None),
            Health::Healthy | Health::None => (say("all is well"), None),
        },
        (State::Stopping { kills: 0, cause: Cause::Failure(failure), .. }, Goal::Up) => (
            format!("{}, and is being ended", told(failure, facts)),
            facts.holder.map(free_the_port).or_else(|| Some(step::after(name, failure, facts))),
        ),
        (State::Stopping { kills: 0, .. }, _) => (say("it is stopping"), run("wait --for stopped")),
        (State::Stopping { .. }, _) => (say("it does not end, not even when killed"), run("logs")),
        (State::Unknown { why, .. }, _) => (why.clone(), Some(unknown(name))),
        (State::Backoff { failure, .. }, _) => (
            format!("{}{}, and is started again", told(failure, facts), hindered(facts)),
            facts.holder.map(free_the_port).or_else(|| Some(step::after(name, failure, facts))),
        ),
        (State::Completed { exit, .. }, _) if exit.is_success() && facts.oneshot => {
            (format!("all is well: it has done its work{}", left_behind(facts)), None)
        }
        (State::Completed { exit, .. }, _) if exit.is_success() => {
            (format!("it {}{}", in_words(*exit), left_behind(facts)), Some(step::after_work(name, facts)))
        }
        (State::Completed { exit, .. }, _) => (format!("it {}", in_words(*exit)), run("start")),
        (State::Failed { failure, attempts, .. }, _) => (
            match attempts {
                0 | 1 => format!(
                    "{}{}, and is not started again until somebody asks",
                    told(failure, facts),
                    hindered(facts)
                ),
                more => format!(
                    "{}{}; tried {more} times, it has reached its restart limit, and is not started again until somebody asks",
                    told(failure, facts),
                    hindered(facts)
                ),
            },
            facts.holder.map(free_the_port).or_else(|| Some(step::after(name, failure, facts))),
        ),
    }
}

/// The way out where it cannot be told whether a service runs.
pub fn unknown(name: &str) -> String {
    format!(
        "put that right; the daemon looks again every few seconds, and `service status {name}` tells what it finds"
    )
}

fn waiting(facts: &Facts<'_>) -> (String, Option<String>) {
    match facts.need {
        Some((need, Some(_))) => (
            format!("it waits for `{need}`, which will not come by itself"),
            Some(format!("run `service why {need}`")),
        ),
        Some((need, None)) => (format!("it waits for `{need}`"), Some(format!("run `service why {need}`"))),
        None => ("it is about to start".to_string(), None),
    }
}

fn free_the_port(holder: &str) -> String {
    format!("end {holder}, or give one of the two another port")
}

/// Who has the port it wants, which most often is why it ended.
fn hindered(facts: &Facts<'_>) -> String {
    facts.holder.map(|holder| format!("; the port it wants is held by {holder}")).unwrap_or_default()
}

fn told(failure: &Failure, facts: &Facts<'_>) -> String {
    match failure {
        Failure::Exited(exit) => format!("it {}{}", in_words(*exit), left_behind(facts)),
        Failure::Refused(why) => format!("it could not be launched: {why}"),
        Failure::StartTimeout => {
            let limit =
                facts.limit.map_or_else(|| "in time".to_string(), |limit| format!("within {limit:?}"));
            let why = missing_sign(facts).map(|why| format!(": {why}")).unwrap_or_default();
            format!("it was not ready {limit}{why}")
        }
        Failure::Unhealthy => match facts.check {
            Some(check) => format!("it became unhealthy: {check}"),
            None => format!("it {failure}"),
        },
    }
}

fn left_behind(facts: &Facts<'_>) -> String {
    facts.left.map(|left| format!("; it left {left} behind, which was ended")).unwrap_or_default()
}

fn starting(facts: &Facts<'_>) -> String {
    let why = missing_sign(facts).map(|why| format!(": {why}")).unwrap_or_default();
    let left = facts.left_to_start.map(|left| format!("; {left:.0?} are left")).unwrap_or_default();
    format!("it is starting{why}{left}")
}

/// What it is ready by, and has not come.
pub fn missing_sign(facts: &Facts<'_>) -> Option<String> {
    if let Some(pattern) = facts.ready {
        return Some(match (facts.lines, facts.said) {
            (0, _) | (_, None) => {
                format!("it has written no line, and one is to match `ready.log` = `{pattern}`")
            }
            (lines, Some(said)) => {
                format!("none of its {lines} lines matches `ready.log` = `{pattern}`, the last is `{said}`")
            }
        });
    }
    if facts.notifies {
        return Some("it has not said READY=1 (`ready.notify`)".to_string());
    }
    facts.check.map(ToString::to_string)
}

/// What to do when a start has come to nothing, as far as definition and state tell.
pub fn after_start(service: &Service, state: &State) -> String {
    let (name, facts) = (&service.name, &Facts::of(service));
    match state {
        State::Completed { .. } => step::after_work(name, facts),
        State::Failed { failure, .. } | State::Backoff { failure, .. } => step::after(name, failure, facts),
        _ => format!("see `service why {name}`"),
    }
}

/// What an edge waits for, in words.
pub fn wanted(condition: Condition) -> &'static str {
    word(&Condition::ALL, condition)
}

/// How a process ended, with what that usually means.
pub fn in_words(exit: Exit) -> String {
    match meaning(exit) {
        Some(meaning) => format!("{exit}: {meaning}"),
        None => exit.to_string(),
    }
}

fn meaning(exit: Exit) -> Option<&'static str> {
    Some(match exit {
        Exit::Code(2) => "most often it was called in a wrong way",
        Exit::Code(64) => "it was called in a wrong way",
        Exit::Code(77) => "a permission is missing",
        Exit::Code(78) => "something in its configuration is wrong",
        Exit::Code(ADDRESS_IN_USE) => "the address it wants is in use",
        Exit::Code(101) => "a panic, if it is written in Rust",
        Exit::Code(126) => "the command was found and cannot be executed",
        Exit::Code(127) => "the command was not found",
        Exit::Code(code) if code > BY_SIGNAL => return signal(code - BY_SIGNAL),
        Exit::Signal(number) | Exit::Heeded(number) => return signal(number),
        Exit::Code(_) | Exit::OutOfMemory(_) | Exit::Untold | Exit::Unknown => return None,
    })
}

fn signal(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "its terminal was closed, or somebody sent SIGHUP",
        2 => "somebody pressed ctrl-c, or sent SIGINT",
        4 => "it is not built for this processor, or is broken (SIGILL)",
        6 => "it gave itself up, as after a failed assertion (SIGABRT)",
        7 => "it touched memory that is not there (SIGBUS)",
        8 => "it divided by zero (SIGFPE)",
        9 => "it was killed: by the kernel for want of memory, or by somebody (SIGKILL)",
        11 => "it touched memory that is not its own (SIGSEGV)",
        13 => "it wrote to somebody who had gone (SIGPIPE)",
        15 => "somebody asked it to end (SIGTERM)",
        24 => "it used more time than it may (SIGXCPU)",
        25 => "it wrote a larger file than it may (SIGXFSZ)",
        31 => "it did something that it may not (SIGSYS)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Moment;
    use crate::config::Origin;
    use crate::fleet::Obstacle;
    use crate::snapshot::Status;
    use core::time::Duration;

    fn snapshot(state: State, goal: Goal, health: Health) -> Snapshot {
        Snapshot {
            id: crate::Plan::compile(crate::Config {
                services: alloc::vec![crate::config::Service::new(crate::Name::new("a").unwrap())],
                ..crate::Config::default()
            })
            .unwrap()
            .ids()
            .next()
            .unwrap(),
            goal,
            state,
            health,
            status: Status::Running,
            run: 1,
            launched: None,
            starter: Starter::Us,
            last_exit: None,
            exit_run: None,
            restarts: 0,
            reason: None,
            waits_for: None,
            asked: None,
            ended: None,
            began: None,
        }
    }

    #[expect(clippy::large_types_passed_by_value, reason = "each test makes its own")]
    fn told(state: State, goal: Goal, health: Health, facts: Facts<'_>) -> (String, Option<String>) {
        explain("web", &snapshot(state, goal, health), &facts)
    }

    fn ready() -> State {
        State::Ready { launched: Moment::default(), since: Moment::default() }
    }

    fn failed(exit: Exit) -> State {
        State::Failed { at: Moment::default(), failure: Failure::Exited(exit), attempts: 1 }
    }

    #[test]
    fn work_that_ends_where_a_service_was_expected_is_told_of_oneshot() {
        let mut service = crate::config::Service::new(crate::Name::new("ls").unwrap());
        let state = State::Completed { at: Moment::default(), exit: Exit::Code(0) };
        assert!(after_start(&service, &state).contains("`oneshot = true`"));
        service.origin = Origin::Transient;
        assert!(after_start(&service, &state).contains("with `--oneshot`"));
        assert!(after_start(&service, &failed(Exit::Code(1))).ends_with("then run it again"));
    }

    #[test]
    fn a_program_that_is_not_found_is_looked_for_on_the_path_of_the_daemon() {
        let service = crate::config::Service::new(crate::Name::new("a").unwrap());
        let refused = |why: &str| State::Failed {
            at: Moment::default(),
            failure: Failure::Refused(why.to_string()),
            attempts: 1,
        };
        assert!(
            after_start(&service, &refused("program `x` is not in PATH")).contains("service daemon restart")
        );
        let help = after_start(&service, &refused("working directory `/x` does not exist"));
        assert_eq!(
            help,
            "run `mkdir -p /x`, or correct `working_dir` of [services.a], then run `service start a`"
        );
        let help = after_start(
            &service,
            &refused("the interpreter `/bin/sh\\r` of program `./a.sh` does not exist"),
        );
        assert!(help.contains("sed -i 's/\\r$//' ./a.sh"), "{help}");
    }

    #[test]
    fn who_got_a_pipe_as_an_argument_is_told_of_the_shell_also_where_it_ended_well() {
        let shell = Some(("`|` is passed on as a word", "say `shell = \"sh\"`"));
        let facts = Facts { shell, ..Facts::default() };
        let completed = State::Completed { at: Moment::default(), exit: Exit::Code(0) };
        for state in [failed(Exit::Code(1)), completed] {
            let (_, help) = told(state.clone(), Goal::Up, Health::None, facts);
            assert_eq!(help.unwrap(), "`|` is passed on as a word: say `shell = \"sh\"`");
            let facts = Facts { origin: Origin::Transient, ..facts };
            assert!(told(state, Goal::Up, Health::None, facts).1.unwrap().ends_with("`--shell sh`"));
        }
    }

    #[test]
    fn a_start_that_took_too_long_tells_what_it_waited_for() {
        let late = State::Failed { at: Moment::default(), failure: Failure::StartTimeout, attempts: 1 };
        let limit = Some(Duration::from_secs(4));
        let check = Facts { limit, check: Some("503"), endpoint: Some("http://x"), ..Facts::default() };
        let (text, help) = told(late.clone(), Goal::Up, Health::None, check);
        assert!(text.starts_with("it was not ready within 4s: 503, and"), "{text}");
        assert!(help.unwrap().starts_with("correct `health_check_endpoint` (`http://x`)"));
        let log = Facts { limit, ready: Some("up"), lines: 3, said: Some("on port 7"), ..Facts::default() };
        let (text, help) = told(late, Goal::Up, Health::None, log);
        assert!(
            text.contains("none of its 3 lines matches `ready.log` = `up`, the last is `on port 7`"),
            "{text}"
        );
        assert!(help.unwrap().starts_with("correct `ready.log` (`up`)"));
    }

    #[test]
    fn what_goes_to_the_background_or_ends_with_its_input_is_told_so() {
        let completed = State::Completed { at: Moment::default(), exit: Exit::Code(0) };
        let left = Facts { left: Some("1 process (sleep)"), ..Facts::default() };
        let (text, help) = told(completed.clone(), Goal::Up, Health::None, left);
        assert_eq!(text, "it exited with code 0; it left 1 process (sleep) behind, which was ended");
        assert!(help.unwrap().starts_with("let it run in the foreground"));
        let soon = Facts { lived: Some(Duration::from_millis(20)), ..Facts::default() };
        let help = told(completed, Goal::Up, Health::None, soon).1.unwrap();
        assert!(help.contains("`oneshot = true`") && help.contains("standard input"), "{help}");
    }

    #[test]
    fn whoever_was_started_again_and_again_is_told_of_the_limit() {
        let state =
            State::Failed { at: Moment::default(), failure: Failure::Exited(Exit::Code(4)), attempts: 6 };
        let (text, _) = told(state, Goal::Up, Health::None, Facts::default());
        assert!(
            text.starts_with("it exited with code 4; tried 6 times, it has reached its restart limit"),
            "{text}"
        );
    }

    #[test]
    fn what_is_in_no_file_is_not_corrected_there() {
        let failed = failed(Exit::Code(127));
        let help = |origin| {
            let facts = Facts { origin, ..Facts::default() };
            told(failed.clone(), Goal::Up, Health::None, facts).1.unwrap()
        };
        assert!(help(Origin::File).contains("services.toml"));
        assert!(!help(Origin::Added).contains("services.toml"));
        assert!(!help(Origin::Transient).contains("services.toml"));
    }

    #[test]
    fn a_healthy_service_needs_no_help() {
        let (text, help) = told(ready(), Goal::Up, Health::Healthy, Facts::default());
        assert_eq!((text.as_str(), help), ("all is well", None));
    }

    #[test]
    fn all_is_not_well_without_what_it_needs_and_a_look_at_the_process_alone_is_no_check() {
        let facts = Facts { lost: Some(("db", "which failed: exited with code 1")), ..Facts::default() };
        let (text, help) = told(ready(), Goal::Up, Health::Alive, facts);
        assert_eq!(text, "it runs, and needs `db`, which failed: exited with code 1");
        assert_eq!(help.as_deref(), Some("run `service why db`"));
        let (text, _) = told(ready(), Goal::Up, Health::Alive, Facts::default());
        assert_ne!(text, "all is well");
    }

    #[test]
    fn what_nobody_wants_is_started_with_a_start() {
        let (_, help) = told(State::Stopped, Goal::Down, Health::None, Facts::default());
        assert_eq!(help.as_deref(), Some("run `service start web`"));
    }

    #[test]
    fn whoever_waits_points_at_what_it_waits_for() {
        let facts = Facts { need: Some(("db", Some(Obstacle::Failed))), ..Facts::default() };
        let (text, help) = told(State::Stopped, Goal::Up, Health::None, facts);
        assert_eq!(text, "it waits for `db`, which will not come by itself");
        assert_eq!(help.as_deref(), Some("run `service why db`"));
    }

    #[test]
    fn the_holder_of_a_port_comes_before_other_help() {
        let facts = Facts { holder: Some("pid 7 (nginx)"), ..Facts::default() };
        let (text, help) = told(failed(Exit::Code(98)), Goal::Up, Health::None, facts);
        assert!(text.contains("; the port it wants is held by pid 7 (nginx), and"), "{text}");
        assert_eq!(help.as_deref(), Some("end pid 7 (nginx), or give one of the two another port"));
    }

    #[test]
    fn a_wrong_command_is_corrected_in_the_file() {
        let (text, help) = told(failed(Exit::Code(127)), Goal::Up, Health::None, Facts::default());
        assert!(text.starts_with("it exited with code 127: the command was not found"), "{text}");
        assert!(help.unwrap().starts_with("correct [services.web]"));
    }

    #[test]
    fn exits_are_told_with_what_they_usually_mean() {
        let killed = "it was killed: by the kernel for want of memory, or by somebody (SIGKILL)";
        assert_eq!(in_words(Exit::Code(137)), format!("exited with code 137: {killed}"));
        assert_eq!(in_words(Exit::Signal(9)), format!("was ended by SIGKILL: {killed}"));
        assert_eq!(in_words(Exit::Code(0)), "exited with code 0");
        assert_eq!(in_words(Exit::Code(3)), "exited with code 3");
    }
}
