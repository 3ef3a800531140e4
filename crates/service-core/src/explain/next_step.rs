//! The next step after a failure: the only source of the help in errors and in `service why`.

use crate::config::Origin;
use crate::explain::context::{ExplainContext, Runtime, no_shell};
use crate::health::CheckFault;
use crate::service::{Exit, Failure};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The end of the shim's message about a missing program.
const NOT_IN_PATH: &str = "is not in PATH";
/// The text between user and directory in the shim's message about a directory that the user of the service may not
/// enter.
const MAY_NOT_ENTER: &str = "may not enter `";
/// The text before the user in the shim's message about a program that the user of the service may not execute.
const PERMISSION_DENIED_FOR: &str = "permission denied for user `";
/// The text before the directory in the shim's message about a directory that the daemon may not enter.
const NOT_ENTERED_BY_DAEMON: &str = "permission denied at `";
/// The beginning of the error of a state directory that cannot be written.
pub const STATE_NOT_WRITTEN: &str = "the state directory";
/// The minimum duration of a run. A service that ends sooner may not have begun its work.
const MIN_LIFETIME: Duration = Duration::from_secs(5);

/// A cause with the step that its author suggests, in the form of managers' messages.
pub fn with_step(cause: &str, step: &str) -> String {
    format!("{cause} ({step})")
}

/// The step that the author of a cause suggests: the text in the last parentheses, which may contain other parentheses.
fn step(cause: &str) -> Option<&str> {
    let cause = cause.strip_suffix('”').unwrap_or(cause);
    let inside = cause.strip_suffix(')')?;
    let mut depth = 1;
    for (at, character) in inside.char_indices().rev() {
        depth = match character {
            ')' => depth + 1,
            '(' => depth - 1,
            _ => depth,
        };
        if depth == 0 {
            // A parenthesis without a space before it belongs to a word.
            let is_own = inside[..at].ends_with(' ') && inside[at + 1..].contains(' ');
            return is_own.then(|| inside[at + 1..].trim());
        }
    }
    None
}

/// The remedy for a failure.
pub(super) fn after_failure(name: &str, failure: &Failure, context: &ExplainContext<'_>) -> String {
    match failure {
        Failure::LaunchFailed(why) => refused(name, why, context),
        Failure::Exited(exit) => exited(name, *exit, context),
        Failure::StartTimeout => late(name, context),
        Failure::Unhealthy => {
            format!("run `service health {name}` to check again, and `service logs {name}` for its output")
        }
    }
}

/// The remedy for a service that has ended successfully and was expected to run.
pub(super) fn after_exit(name: &str, context: &ExplainContext<'_>) -> String {
    if context.left.is_some() {
        let help =
            "run it in the foreground (for example nginx with `daemon off;`, others with `--foreground`)";
        return format!("{help}, then run `service start {name}`");
    }
    if let Some(help) = no_shell(context) {
        return help;
    }
    let oneshot = match context.origin {
        Origin::File => "set `oneshot = true`",
        Origin::Added => "add it with `oneshot: true`",
        Origin::Transient => "run it with `--oneshot`",
    };
    let input = match context.lived {
        Some(lived) if lived < MIN_LIFETIME => {
            "; if it exits because its standard input is closed, keep the input open, as in `shell = \"sh\"` \
             with `sleep infinity | program`"
        }
        _ => "",
    };
    let words =
        if context.said.is_some() { format!("; its output: `service logs {name}`") } else { String::new() };
    format!("if it is meant to exit, {oneshot}{input}{words}")
}

/// The help to correct the definition and start again.
fn correct(name: &str, what: &str, context: &ExplainContext<'_>) -> String {
    match context.origin {
        Origin::File => {
            format!("{what} in [services.{name}] of services.toml, then run `service start {name}`")
        }
        Origin::Added => {
            format!("{what}: add `{name}` again with the correction, then run `service start {name}`")
        }
        Origin::Transient => format!("{what}: run it again with the correction"),
    }
}

fn refused(name: &str, why: &str, context: &ExplainContext<'_>) -> String {
    let again = format!(", then run `service start {name}`");
    if let Some(help) = refused_by_manager(name, why, context) {
        return help;
    }
    let mut named = why.split('`').skip(1).step_by(2);
    let (first, second) = (named.next().unwrap_or_default(), named.next().unwrap_or_default());
    let has = |words: &str| why.contains(words);
    if has(NOT_IN_PATH) {
        return not_found(name, context);
    }
    if has("interpreter") {
        return match first.contains("\\r") {
            true => {
                format!("`{second}` has Windows line ends: run `sed -i 's/\\r$//' {second}`{again}")
            }
            false => format!("correct the first line of `{second}`, or install its interpreter{again}"),
        };
    }
    if let Some(help) = forbidden(why, &again) {
        return help;
    }
    if has("is not executable") {
        return format!("run `chmod +x {first}`{again}");
    }
    if has("begins with a byte order mark") {
        return format!("save `{first}` as UTF-8 without the mark{again}");
    }
    if has("`#!` line") {
        return format!(
            "begin `{first}` with a line such as `#!/usr/bin/env sh`, or name its interpreter as the \
             program{again}"
        );
    }
    if has("program `") && (has("` is empty") || has("` is truncated")) {
        return format!("build or copy `{first}` again{again}");
    }
    if has("is a binary for another machine") {
        return format!("build `{first}` for this machine{again}");
    }
    if has("is an object file") {
        return format!("link `{first}`, or use the linked program{again}");
    }
    if has("open files") {
        let more = "raise the limit on open files of the daemon: `ulimit -n`, or `LimitNOFILE=` of its unit";
        return format!("{more}, and run `service daemon restart`{again}");
    }
    if has("env_file") && has("is not understood") {
        return format!("correct `{first}`{again}");
    }
    if has("env_file") && has(" sets `") {
        return format!("remove `{second}` from `{first}`{again}");
    }
    if has("env_file") && has("cannot be read") && !has("No such file") {
        let what = format!("set `env_file` to a readable file of lines `NAME=value` instead of `{first}`,");
        return correct(name, &what, context);
    }
    if has("env_file") {
        return format!("create `{first}`, or remove it from `env_file` of [services.{name}]{again}");
    }
    if has("working directory") && has("is not a directory") {
        return correct(name, "correct `working_dir`", context);
    }
    if has("working directory") {
        return format!("run `mkdir -p {first}`, or correct `working_dir` of [services.{name}]{again}");
    }
    if why.starts_with("user ") || has("as another user") {
        return correct(name, "correct `user`", context);
    }
    if why.starts_with("group ") || has("`group`") || has("another group") {
        return correct(name, "correct `group`", context);
    }
    if why.starts_with(STATE_NOT_WRITTEN) {
        return format!("free space on that disk, or make it writable{again}");
    }
    if why.starts_with("program") {
        return no_shell(context).unwrap_or_else(|| correct(name, "correct `start_command`", context));
    }
    correct(name, "correct it", context)
}

/// The help for a directory that may not be entered.
fn forbidden(why: &str, again: &str) -> Option<String> {
    let named: Vec<&str> = why.split('`').skip(1).step_by(2).collect();
    match *named.as_slice() {
        [_, user, directory] if why.contains(MAY_NOT_ENTER) => Some(format!(
            "allow user `{user}` to enter `{directory}` (`setfacl -m u:{user}:x {directory}`), or move the \
             program{again}"
        )),
        [_, directory] if why.contains(NOT_ENTERED_BY_DAEMON) => Some(format!(
            "allow the user of the daemon to enter `{directory}`, or name a program elsewhere in \
             `start_command`{again}"
        )),
        [program, user] if why.contains(PERMISSION_DENIED_FOR) => Some(format!(
            "allow user `{user}` to execute `{program}` (`chmod o+rx {program}`), or correct `user`{again}"
        )),
        [directory, ..] if why.contains(": permission denied") && why.starts_with("working directory") => {
            Some(format!(
                "allow the user of the daemon to enter `{directory}`, or correct `working_dir`{again}"
            ))
        }
        _ => None,
    }
}

/// The step that a manager suggests, or the correction of its module.
fn refused_by_manager(name: &str, why: &str, context: &ExplainContext<'_>) -> Option<String> {
    if !context.managed {
        return None;
    }
    let again = format!(", then run `service start {name}`");
    let module = why.split('`').nth(1).unwrap_or_default();
    if why.starts_with("cannot read its manager") {
        return Some(correct(name, &format!("create `{module}`, or correct `manager`"), context));
    }
    if why.contains(" of `with`") {
        return Some(correct(name, "correct `with`", context));
    }
    if let Some(step) = step(why) {
        return Some(format!("{step}{again}"));
    }
    why.starts_with("its manager `")
        .then(|| format!("correct the module `{module}`; `service managers` shows its problem{again}"))
}

/// The help for a program that is missing in the searched directories.
fn not_found(name: &str, context: &ExplainContext<'_>) -> String {
    if let Some(help) = no_shell(context) {
        return help;
    }
    match context.path {
        Some(path) if path.contains('$') => {
            let what =
                "`PATH` contains `$`, which is not expanded: write every directory of `env.PATH` in full";
            correct(name, what, context)
        }
        Some(path) => {
            let what = format!("the search path is `{path}`: add its directory to `env.PATH`");
            correct(name, &what, context)
        }
        None => format!(
            "is it installed? The daemon searches the PATH of the shell that started it: write the full \
             path, or run `service daemon restart` in a shell that has it on $env.PATH, then `service start \
             {name}`"
        ),
    }
}

/// A number of bytes in the largest unit of `memory_limit` that divides it.
fn describe_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1 << 30, "GiB"),
        (1_000_000_000, "GB"),
        (1 << 20, "MiB"),
        (1_000_000, "MB"),
        (1 << 10, "KiB"),
        (1_000, "KB"),
    ];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

fn exited(name: &str, exit: Exit, context: &ExplainContext<'_>) -> String {
    if exit.is_success() {
        return after_exit(name, context);
    }
    let again = match context.origin {
        Origin::Transient => String::from("then run it again"),
        Origin::File | Origin::Added => format!("then run `service start {name}`"),
    };
    if let Some(help) = no_shell(context) {
        return help;
    }
    let is_about_memory = |line: &str| ["emory", "alloc", "mmap"].iter().any(|word| line.contains(word));
    if let Some(limit) = context.address_space
        && (context.telling.or(context.said).is_some_and(is_about_memory)
            || matches!(exit, Exit::Signal(6 | 9 | 11)))
    {
        let what = format!(
            "`memory_limit` ({}) limits the address space of each process here (RLIMIT_AS), which \
             is larger than its memory use: raise it, or remove it,",
            describe_size(limit)
        );
        return correct(name, &what, context);
    }
    if let Some(limit) = context.memory
        && context.telling.or(context.said).is_some_and(is_about_memory)
    {
        let what = format!("raise `memory_limit` ({}), or remove it,", describe_size(limit));
        return correct(name, &what, context);
    }
    match exit {
        Exit::OutOfMemory(_) => correct(name, "raise `memory_limit`, or reduce its memory use,", context),
        Exit::Code(126 | 127) => match context.origin {
            Origin::File => {
                let said = context.said.map(|said| format!(", or fix the reported problem: `{said}`"));
                format!("correct [services.{name}] in services.toml{}; {again}", said.unwrap_or_default())
            }
            Origin::Added => format!("add `{name}` again with the correction, {again}"),
            Origin::Transient => "run it again with the correction".into(),
        },
        Exit::Signal(9) | Exit::Code(137) => {
            format!("check with `dmesg` whether the kernel killed it for lack of memory, {again}")
        }
        Exit::Signal(4 | 6 | 7 | 8 | 11) | Exit::Code(132 | 134 | 135 | 136 | 139) => {
            let words = context.said.map(|said| format!(" (its last line: `{said}`)")).unwrap_or_default();
            format!("the program crashed{words}: see `coredumpctl`, fix it, {again}")
        }
        _ => match context.telling.or(context.said) {
            Some(said) => format!("fix the reported problem: `{said}`; {again}"),
            None if context.managed => format!("see `service logs {name}`, {again}"),
            None => format!("it wrote nothing: run its command by hand to see why it exits, {again}"),
        },
    }
}

/// The help to make Python write its output at once.
pub(super) fn flush_python(name: &str, context: &ExplainContext<'_>) -> String {
    let what = "Python keeps its output in a buffer: set `PYTHONUNBUFFERED = \"1\"` in `env`, or start it with \
                `python -u` or `stdbuf -oL`,";
    correct(name, what, context)
}

/// The next step for a service that was not ready in time.
fn late(name: &str, context: &ExplainContext<'_>) -> String {
    let more = "or give it more time with `ready.timeout`,";
    let what = match context.ready {
        Some(_) if context.lines == 0 && context.runtime == Runtime::BufferingPython => {
            return flush_python(name, context);
        }
        Some(pattern) if context.lines == 0 => format!(
            "if its output stays in a buffer, start it with `stdbuf -oL`; or correct `ready.log` \
             (`{pattern}`), {more}"
        ),
        Some(pattern) => format!("correct `ready.log` (`{pattern}`), {more}"),
        None => match context.endpoint {
            Some(_) if context.check_fault == Some(CheckFault::Timeout) => {
                let limit = context.check_timeout.map(|limit| format!(" ({limit:?})")).unwrap_or_default();
                format!("raise `health.timeout`{limit}, or make the check answer sooner,")
            }
            Some(endpoint) if context.check_fault == Some(CheckFault::Certificate) => {
                format!("name the certificate of `{endpoint}` or of its authority in `health.ca_file`,")
            }
            Some(endpoint) => format!("correct `health_check_endpoint` (`{endpoint}`), {more}"),
            None if context.notifies => {
                format!("make it send READY=1 to $NOTIFY_SOCKET, remove `ready.notify`, {more}")
            }
            None => "give it more time with `ready.timeout`,".into(),
        },
    };
    correct(name, &what, context)
}
