//! Programs that ask somebody else to run a service, and end at once: with a `stop_command` beside it, such a start command
//! is one of `manager = "command"`.

use std::path::Path;
use toml::de::DeValue;

/// They do so whatever they are told.
const CLIENTS: [&str; 15] = [
    "systemctl",
    "service",
    "rc-service",
    "invoke-rc.d",
    "supervisorctl",
    "dinitctl",
    "s6-rc",
    "s6-svc",
    "sv",
    "initctl",
    "launchctl",
    "pg_ctl",
    "pm2",
    "machinectl",
    "virsh",
];
/// They do so if they are told to.
const ENGINES: [&str; 6] = ["docker", "podman", "nerdctl", "docker-compose", "podman-compose", "brew"];
/// What stands before a command without being it.
const BEFORE: [&str; 4] = ["sudo", "doas", "env", "exec"];

/// Whether a `start_command` begins such a program.
pub(super) fn is_written(start_command: &DeValue<'_>) -> bool {
    match start_command {
        DeValue::String(line) => is_client(line.split_whitespace()),
        DeValue::Array(words) => is_client(words.iter().filter_map(|word| word.get_ref().as_str())),
        _ => false,
    }
}

/// Whether these are the words of one.
pub(super) fn is_client<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let mut words = words.map(|word| word.trim_start_matches('^').trim_matches(['"', '\'']));
    let is_before = |word: &&str| BEFORE.contains(word) || word.starts_with('-') || word.contains('=');
    let Some(program) = words.find(|word| !is_before(word)) else { return false };
    let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !ENGINES.contains(&name) {
        return CLIENTS.contains(&name);
    }
    let rest: Vec<&str> = words.collect();
    let has = |wanted: &[&str]| rest.iter().any(|word| wanted.contains(word));
    // Short options may be written together: `-dit`.
    let is_short = |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('d');
    let detached = has(&["--detach", "--detach=true"]) || rest.iter().any(|word| is_short(word));
    let attached = has(&["--attach", "-a", "-i"]);
    match name {
        "brew" => has(&["services"]),
        _ => (has(&["run", "up", "create"]) && detached) || (has(&["start", "restart"]) && !attached),
    }
}

#[cfg(test)]
mod tests {
    use super::is_client;

    #[test]
    fn who_asks_somebody_else_is_known_and_who_stays_is_not_taken_for_it() {
        for client in [
            "systemctl start coredns",
            "sudo -n /usr/bin/systemctl --user start coredns",
            "^systemctl start coredns",
            "service nginx start",
            "docker start db",
            "docker run --name db -d postgres",
            "podman run -dit postgres",
            "docker compose up --detach db",
            "docker-compose up -d",
            "brew services start redis",
            "env A=1 supervisorctl start web",
        ] {
            assert!(is_client(client.split_whitespace()), "{client}");
        }
        for program in [
            "redis-server --port 1",
            "docker run --rm postgres",
            "docker compose up",
            "docker start --attach db",
            "sh -c systemctl",
            "touch lamp",
            "",
        ] {
            assert!(!is_client(program.split_whitespace()), "{program}");
        }
    }
}
