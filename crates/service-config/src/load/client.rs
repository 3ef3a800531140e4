//! Recognizes clients of other supervisors, such as `systemctl`. A `start_command` that runs such a client implies
//! `manager = "command"`, if there is a `stop_command`.

use std::path::Path;
use toml::de::DeValue;

/// Programs that always start the service under another supervisor.
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
/// Programs that start the service under another supervisor with certain arguments.
const ENGINES: [&str; 6] = ["docker", "podman", "nerdctl", "docker-compose", "podman-compose", "brew"];
/// Programs that run the command that follows them.
const WRAPPERS: [&str; 4] = ["sudo", "doas", "env", "exec"];

/// The directories of the system's programs.
const SYSTEM_DIRECTORIES: [&str; 4] = ["/usr/", "/bin/", "/sbin/", "/snap/"];

/// Whether a `start_command` runs such a client.
pub(super) fn starts_client(start_command: &DeValue<'_>) -> bool {
    match start_command {
        DeValue::String(line) => is_client(line.split_whitespace()),
        DeValue::Array(words) => is_client(words.iter().filter_map(|word| word.get_ref().as_str())),
        _ => false,
    }
}

/// Whether these words run such a client.
pub(super) fn is_client<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let mut words = words.map(|word| word.trim_start_matches('^').trim_matches(['"', '\'']));
    let is_wrapper = |word: &&str| WRAPPERS.contains(word) || word.starts_with('-') || word.contains('=');
    let Some(program) = words.find(|word| !is_wrapper(word)) else { return false };
    let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !ENGINES.contains(&name) {
        return CLIENTS.contains(&name);
    }
    let rest: Vec<&str> = words.collect();
    let has = |wanted: &[&str]| rest.iter().any(|word| wanted.contains(word));
    // Short options may be combined: `-dit`.
    let is_short = |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('d');
    let detached = has(&["--detach", "--detach=true"]) || rest.iter().any(|word| is_short(word));
    let attached = has(&["--attach", "-a", "-i"]);
    match name {
        "brew" => has(&["services"]),
        _ => (has(&["run", "up", "create"]) && detached) || (has(&["start", "restart"]) && !attached),
    }
}

/// Whether these words run a client that exits while the service continues. A program of the same name in a private
/// directory does not count.
pub(super) fn leaves_service<'a>(words: impl Iterator<Item = &'a str> + Clone) -> bool {
    let is_own =
        |word: &str| word.contains('/') && !SYSTEM_DIRECTORIES.iter().any(|place| word.starts_with(place));
    let mut programs = words.clone().filter(|word| !WRAPPERS.contains(word));
    let stays = words.clone().any(|word| matches!(word, "--wait" | "--no-daemon" | "--attach"));
    is_client(words) && !stays && !programs.next().is_some_and(is_own)
}

#[cfg(test)]
mod tests {
    use super::{is_client, leaves_service};

    #[test]
    fn who_stays_until_the_service_ends_or_is_a_program_of_ones_own_leaves_nothing_elsewhere() {
        for (command, leaves) in [
            ("docker run -d nginx", true),
            ("/usr/bin/systemctl start db", true),
            ("systemctl start --wait db", false),
            ("pm2 start app.js --no-daemon", false),
            ("docker run --rm nginx", false),
            ("./service --port 80", false),
            ("/opt/app/bin/service start", false),
        ] {
            assert_eq!(leaves_service(command.split_whitespace()), leaves, "{command}");
        }
    }

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
