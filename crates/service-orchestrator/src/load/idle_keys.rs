//! Keys of a service that another of its keys switches off. Only what the service says for itself is named: a default is
//! for those that it fits.

use super::map::Map;
use super::section::Fault;
use nix::libc;
use service_core::config::{Manager, Service};
use service_core::health::Endpoint;

/// Signals that end nobody, unless the program says otherwise.
const HARMLESS: [(i32, &str); 8] = [
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
pub(super) fn find(service: &Service, map: &Map<'_>) -> Vec<Fault> {
    let given = |path: &[&str]| {
        let path: Vec<&str> = ["services", &service.name].into_iter().chain(path.iter().copied()).collect();
        map.value(&path)
    };
    let mut found = Vec::new();
    let mut idle = |path: &[&str], why: &str, help: &str| {
        if let Some(span) = given(path) {
            let mut fault = Fault::new(span, format!("`{}` has no effect: {why}", path.join(".")));
            fault.help = Some(help.to_owned());
            found.push(fault);
        }
    };
    if service.oneshot && service.manager == Manager::Process {
        for key in ["log", "notify", "delay"] {
            idle(&["ready", key], "a one-shot is ready when it has ended with code 0", "leave it out");
        }
        idle(
            &["health_check_endpoint"],
            "a one-shot is not checked: it is ready when it has ended with code 0",
            "leave it out",
        );
    } else if service.ready.log.is_some() && service.ready.notify {
        idle(
            &["ready", "log"],
            "`ready.notify` is given too, and either makes it ready",
            "choose one of them",
        );
    }
    let announces = service.ready.log.is_some() || service.ready.notify;
    if !service.oneshot && (announces || service.endpoint.is_some()) {
        let why = if announces {
            "`ready.log` or `ready.notify` says when it is ready"
        } else {
            "the check says when it is ready"
        };
        idle(&["ready", "delay"], why, "leave it out");
    } else if !service.oneshot && service.manager == Manager::Process {
        idle(
            &["ready", "timeout"],
            "without a check it is ready after `ready.delay`",
            "give it a `health_check_endpoint`, or leave it out",
        );
    }
    if service.manager == Manager::Process {
        idle(
            &["status_command"],
            "only `manager = \"command\"` asks it",
            "say `manager = \"command\"`, or leave it out",
        );
    }
    match &service.endpoint {
        Some(Endpoint::Http(_) | Endpoint::Https(_)) => {}
        _ => {
            idle(&["health", "status"], "only `http://` and `https://` checks have a status", "leave it out");
        }
    }
    if matches!(service.endpoint, Some(Endpoint::Exec(_))) {
        idle(&["health", "listener"], "an `exec:` check asks no port", "leave it out");
    }
    if service.endpoint.is_none() && service.manager == Manager::Process {
        for key in ["timeout", "retries", "start_period", "listener", "on_failure"] {
            idle(
                &["health", key],
                "there is no `health_check_endpoint` to check",
                "give it one, or leave this out",
            );
        }
    }
    if service.backoff.initial > service.backoff.max {
        idle(
            &["backoff", "initial"],
            "it is longer than `backoff.max`, which no pause exceeds",
            "make `backoff.max` longer",
        );
    }
    if let Some((_, signal)) = HARMLESS.iter().find(|(signal, _)| *signal == service.stop_signal)
        && service.manager == Manager::Process
        && let Some(span) = given(&["stop_signal"])
    {
        let mut fault = Fault::new(
            span,
            format!("`{signal}` does not ask a program to end: it is killed after `stop_timeout`"),
        );
        fault.help = Some("leave it out for \"TERM\", or try \"INT\", \"QUIT\" or \"HUP\"".to_owned());
        found.push(fault);
    }
    found
}
