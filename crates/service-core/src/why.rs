//! What a state means and what would help: the words of `service why`. What the world knows (who holds a port) comes in.

use crate::config::{Condition, Origin, Service, word};
use crate::fleet::Obstacle;
use crate::health::Health;
use crate::service::{Exit, Failure, Goal, Starter, State};
use crate::snapshot::Snapshot;
use alloc::format;
use alloc::string::{String, ToString};

/// The code of `sh` and of many servers for a port that is taken (`EADDRINUSE`).
const ADDRESS_IN_USE: i32 = 98;
/// How the keeper of a service ends the word that there is no such program.
const NOT_IN_PATH: &str = "is not in PATH";
/// A shell adds this to the signal that ended its command.
const BY_SIGNAL: i32 = 128;

/// What the world adds to a [`Snapshot`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The service it waits for, if it waits, and why that one is in the way.
    pub need: Option<(&'a str, Option<Obstacle>)>,
    /// What it needs and runs without, and how that is.
    pub lost: Option<(&'a str, &'a str)>,
    /// A process of somebody else's that holds the port it wants.
    pub holder: Option<&'a str>,
    /// Whether its work has an end.
    pub oneshot: bool,
    /// Where it is defined, and so corrected.
    pub origin: Origin,
    /// A word of its command that only a shell understands.
    pub shell_word: Option<&'a str>,
}

/// How a service is, in one sentence; and the command that would help, if anything is to be helped.
pub fn explain(name: &str, snapshot: &Snapshot, facts: Facts<'_>) -> (String, Option<String>) {
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
                None => say("it is starting"),
            };
            (text, facts.holder.map(free_the_port).or_else(|| run("wait")))
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
        (State::Stopping { kills: 0, .. }, _) => (say("it is stopping"), run("wait --for stopped")),
        (State::Stopping { .. }, _) => (say("it does not end, not even when killed"), run("logs")),
        (State::Backoff { failure, .. }, _) => (
            format!("{}{}, and is started again", told(failure), hindered(facts)),
            facts.holder.map(free_the_port).or_else(|| no_shell(facts)).or_else(|| run("logs")),
        ),
        (State::Completed { exit, .. }, _) if exit.is_success() && facts.oneshot => {
            (say("all is well: it has done its work"), None)
        }
        (State::Completed { exit, .. }, _) => (format!("it {}", in_words(*exit)), run("start")),
        (State::Failed { failure, attempts, .. }, _) => (
            match attempts {
                0 | 1 => format!(
                    "{}{}, and is not started again until somebody asks",
                    told(failure),
                    hindered(facts)
                ),
                more => format!(
                    "{}{}; tried {more} times, it has reached its restart limit, and is not started again until somebody asks",
                    told(failure),
                    hindered(facts)
                ),
            },
            facts
                .holder
                .map(free_the_port)
                .or_else(|| no_shell(facts))
                .or_else(|| Some(after(name, failure, facts.origin))),
        ),
    }
}

fn waiting(facts: Facts<'_>) -> (String, Option<String>) {
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
fn hindered(facts: Facts<'_>) -> String {
    facts.holder.map(|holder| format!("; the port it wants is held by {holder}")).unwrap_or_default()
}

/// Nothing is a pipe that no shell reads.
fn no_shell(facts: Facts<'_>) -> Option<String> {
    let way = match facts.origin {
        Origin::File => "say `shell = \"sh\"`",
        Origin::Added => "add it with `shell: sh`",
        Origin::Transient => "run it with `--shell sh`",
    };
    facts.shell_word.map(|word| format!("it got `{word}` as an argument: if a shell is to read that, {way}"))
}

fn told(failure: &Failure) -> String {
    match failure {
        Failure::Exited(exit) => format!("it {}", in_words(*exit)),
        Failure::Refused(why) => format!("it could not be launched: {why}"),
        Failure::StartTimeout | Failure::Unhealthy => format!("it {failure}"),
    }
}

/// What to do after a failure.
fn after(name: &str, failure: &Failure, origin: Origin) -> String {
    match failure {
        Failure::Refused(_) | Failure::Exited(Exit::Code(126 | 127)) => match origin {
            Origin::File => {
                format!("correct [services.{name}] in services.toml, then run `service start {name}`")
            }
            Origin::Added => format!("add `{name}` again as it should be, then run `service start {name}`"),
            Origin::Transient => "run it again as it should be".to_string(),
        },
        Failure::Exited(_) | Failure::StartTimeout | Failure::Unhealthy => {
            format!("run `service logs {name}`, and `service start {name}` when it is mended")
        }
    }
}

/// What to do when a start has come to nothing.
pub fn after_start(service: &Service, state: &State) -> String {
    let name = &service.name;
    match state {
        State::Completed { exit, .. } if exit.is_success() && !service.oneshot => {
            let work = "if it does its work and ends, ";
            match service.origin {
                Origin::File => format!("{work}say `oneshot = true`; else see `service logs {name}`"),
                Origin::Added => format!("{work}add it with `oneshot: true`; else see `service logs {name}`"),
                Origin::Transient => {
                    format!("{work}run it with `--oneshot`; what it wrote: `service logs {name}`")
                }
            }
        }
        State::Failed { failure: Failure::Refused(why), .. } if why.ends_with(NOT_IN_PATH) => format!(
            "is it installed? The daemon looks on the PATH of the shell that started it: name the whole path, or say \
             `service daemon restart` where it is on $env.PATH, then `service start {name}`"
        ),
        State::Failed { failure: Failure::Refused(_), .. } => {
            format!("nothing ran; when that is mended, `service start {name}` tries again")
        }
        _ => {
            let shell_word = service.start_command.shell_word();
            no_shell(Facts { origin: service.origin, shell_word, ..Facts::default() })
                .unwrap_or_else(|| format!("see `service logs {name}`"))
        }
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
    use crate::snapshot::Status;

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
            restarts: 0,
            reason: None,
            waits_for: None,
            asked: None,
            ended: None,
            began: None,
        }
    }

    fn told(state: State, goal: Goal, health: Health, facts: Facts<'_>) -> (String, Option<String>) {
        explain("web", &snapshot(state, goal, health), facts)
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
        assert_eq!(after_start(&service, &failed(Exit::Code(1))), "see `service logs ls`");
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
        assert!(after_start(&service, &refused("no directory")).starts_with("nothing ran"));
    }

    #[test]
    fn who_got_a_pipe_as_an_argument_is_told_of_the_shell() {
        let mut service = crate::config::Service::new(crate::Name::new("a").unwrap());
        service.origin = Origin::Transient;
        service.start_command.argv = ["sleep", "30", "|", "cat"].map(ToString::to_string).to_vec();
        let help = after_start(&service, &failed(Exit::Code(1)));
        assert!(help.starts_with("it got `|` as an argument") && help.ends_with("`--shell sh`"), "{help}");
        let facts = Facts { shell_word: service.start_command.shell_word(), ..Facts::default() };
        let (_, help) = told(failed(Exit::Code(1)), Goal::Up, Health::None, facts);
        assert!(help.unwrap().ends_with("say `shell = \"sh\"`"));
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
