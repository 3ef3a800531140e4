//! Lints for keys that have no effect, or not the intended one, because of other keys of the service. Keys from
//! `service_defaults` are not reported, because they have an effect on other services.

use super::super::key_map::KeyMap;
use super::super::section::Diagnostic;
use nix::libc;
use service_core::config::{Manager, Restart, Service};
use service_core::health::Endpoint;
use std::ops::Range;

/// Signals whose default action does not terminate a process.
const HARMLESS_SIGNALS: [(i32, &str); 8] = [
    (libc::SIGSTOP, "STOP"),
    (libc::SIGTSTP, "TSTP"),
    (libc::SIGTTIN, "TTIN"),
    (libc::SIGTTOU, "TTOU"),
    (libc::SIGCONT, "CONT"),
    (libc::SIGCHLD, "CHLD"),
    (libc::SIGURG, "URG"),
    (libc::SIGWINCH, "WINCH"),
];

/// Every key of this service that has no effect.
pub(super) fn check(service: &Service, map: &KeyMap<'_>) -> Vec<Diagnostic> {
    let given = |path: &[&str]| {
        let path: Vec<&str> = ["services", &service.name].into_iter().chain(path.iter().copied()).collect();
        map.value(&path)
    };
    let mut found = Vec::new();
    let mut report = |path: &[&str], why: &str, help: &str| {
        if let Some(span) = given(path) {
            let mut diagnostic = Diagnostic::new(span, format!("`{}` has no effect: {why}", path.join(".")));
            diagnostic.help = Some(help.to_owned());
            found.push(diagnostic);
        }
    };
    if service.oneshot && service.manager == Manager::Process {
        for key in ["log", "notify", "delay"] {
            report(&["ready", key], "a one-shot is ready when it has exited with code 0", "remove it");
        }
        report(
            &["health_check_endpoint"],
            "a one-shot has no health check: it is ready when it has exited with code 0",
            "remove it",
        );
    } else if service.ready.log.is_some() && service.ready.notify {
        report(
            &["ready", "log"],
            "`ready.notify` is set too, and either makes it ready",
            "choose one of them",
        );
    }
    let announces = service.ready.log.is_some() || service.ready.notify;
    if !service.oneshot && (announces || service.endpoint.is_some()) {
        let why = if announces {
            "`ready.log` or `ready.notify` determines when it is ready"
        } else {
            "the health check determines when it is ready"
        };
        report(&["ready", "delay"], why, "remove it");
    } else if !service.oneshot && service.manager == Manager::Process {
        report(
            &["ready", "timeout"],
            "without a check it is ready after `ready.delay`",
            "set `health_check_endpoint`, or remove it",
        );
    }
    let environment = &service.environment;
    if !environment.env_clear && service.user.is_none() && !environment.pass_env.is_empty() {
        report(
            &["pass_env"],
            "the service has every variable of the daemon",
            "set `env_clear = true`, or remove it",
        );
    }
    if service.manager == Manager::Process {
        report(
            &["status_command"],
            "only `manager = \"command\"` uses it",
            "set `manager = \"command\"`, or remove it",
        );
    }
    match &service.endpoint {
        Some(Endpoint::Http(_) | Endpoint::Https(_)) => {}
        _ => {
            report(&["health", "status"], "only `http://` and `https://` checks have a status", "remove it");
        }
    }
    if matches!(service.endpoint, Some(Endpoint::Exec(_))) {
        report(&["health", "listener"], "an `exec:` check has no port", "remove it");
    }
    if service.endpoint.is_none() && service.manager == Manager::Process {
        for key in ["timeout", "retries", "start_period", "listener", "on_failure"] {
            report(&["health", key], "there is no `health_check_endpoint`", "set one, or remove this key");
        }
    }
    if service.restart == Restart::No {
        for key in ["initial", "factor", "max", "reset_after", "limit", "window"] {
            let why = "with `restart = \"no\"` it is not started again";
            report(&["backoff", key], why, "set another `restart`, or remove it");
        }
    } else if service.backoff.initial > service.backoff.max {
        report(
            &["backoff", "initial"],
            "it is longer than `backoff.max`, the maximum delay",
            "make `backoff.max` longer",
        );
    }
    found.extend(check_ready_log(service, given(&["ready", "log"])));
    found.extend(check_timeouts(
        service,
        given(&["health", "timeout"]).or_else(|| given(&["ready", "timeout"])),
    ));
    found.extend(check_stop_signal(service, given(&["stop_signal"])));
    found
}

/// Warns of an empty pattern, which every line matches.
fn check_ready_log(service: &Service, span: Option<Range<usize>>) -> Option<Diagnostic> {
    let span = span.filter(|_| service.ready.log.as_deref() == Some(""))?;
    let message = "`ready.log` is empty: the first line of output makes the service ready".to_owned();
    let mut diagnostic = Diagnostic::new(span, message);
    diagnostic.help = Some("write a pattern of the line that reports readiness, or remove it".to_owned());
    Some(diagnostic)
}

/// Warns of a check timeout that exceeds the start timeout.
fn check_timeouts(service: &Service, span: Option<Range<usize>>) -> Option<Diagnostic> {
    let limit = service.start_timeout()?;
    if service.endpoint.is_none() || !service.has_startup_probe() || service.health.timeout <= limit {
        return None;
    }
    let message = format!(
        "`health.timeout` ({:?}) is longer than `ready.timeout` ({limit:?}): a start is given up before its first check is",
        service.health.timeout
    );
    let mut diagnostic = Diagnostic::new(span?, message);
    diagnostic.help = Some("make `health.timeout` shorter, or `ready.timeout` longer".to_owned());
    Some(diagnostic)
}

/// Warns of a stop signal that does not end a process.
fn check_stop_signal(service: &Service, span: Option<Range<usize>>) -> Option<Diagnostic> {
    let span = span.filter(|_| service.manager == Manager::Process)?;
    let (_, signal) = HARMLESS_SIGNALS.iter().find(|(signal, _)| *signal == service.stop_signal)?;
    let message = format!("`{signal}` does not ask a program to end: it is killed after `stop_timeout`");
    let mut diagnostic = Diagnostic::new(span, message);
    diagnostic.help = Some("remove it for \"TERM\", or try \"INT\", \"QUIT\" or \"HUP\"".to_owned());
    Some(diagnostic)
}
