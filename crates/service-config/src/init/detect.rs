//! [`detect`]: suggests services from the other files of a directory. No command of these files is run. A file that
//! cannot be parsed yields no suggestion.

use super::compose;
use serde_json::Value;
use service_api::ownership::read_regular;
use service_api::printable;
use service_api::routes::RESERVED_NAMES;
use service_api::trust::MAX_FILE_BYTES;
use service_api::view::Suggestion;
use std::fmt::Write;
use std::path::Path;

const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
const PROCFILE: &str = "Procfile";
/// The process type that runs once before the others.
const RELEASE: &str = "release";
/// Scripts of a package.json that usually keep running, unlike a build.
const LONG_RUNNING_SCRIPTS: [&str; 6] = ["start", "dev", "serve", "preview", "worker", "watch"];
const RUNNERS: [&str; 4] = ["npm", "pnpm", "yarn", "bun"];
const LOCKS: [(&str, &str); 4] =
    [("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lock", "bun"), ("bun.lockb", "bun")];

/// The definition of a suggestion, commented out. `env_file` is an env file of the same directory.
pub(super) fn commented(suggestion: &Suggestion, env_file: Option<&str>) -> String {
    let Suggestion { name, start_command, shell, dependencies, .. } = suggestion;
    let mut lines = format!("# [services.{}]\n# start_command = {}\n", key(name), quote(start_command));
    if let Some(shell) = shell {
        let _ = writeln!(lines, "# shell = {}", quote(shell)); // writing to a string cannot fail
    }
    if suggestion.source == PROCFILE {
        if name == RELEASE {
            lines.push_str("# oneshot = true\n");
        }
        if let Some(file) = env_file {
            let _ = writeln!(lines, "# env_file = {}", quote(file)); // as above
        }
    }
    if !dependencies.is_empty() {
        let names: Vec<String> = dependencies.iter().map(|name| quote(name)).collect();
        let _ = writeln!(lines, "# dependencies = [{}]", names.join(", "));
    }
    lines
}

/// A TOML key. A key with a dot is quoted, because a bare dot would begin a nested table.
fn key(name: &str) -> String {
    if name.contains('.') { quote(name) } else { name.to_owned() }
}

/// A TOML string: a JSON string without control characters.
fn quote(text: &str) -> String {
    Value::from(printable(text)).to_string()
}

/// The suggestions from all files of a directory, each with a unique name.
pub(super) fn detect(directory: &Path) -> Vec<Suggestion> {
    let read = |name: &str| String::from_utf8(read_regular(&directory.join(name), MAX_FILE_BYTES).ok()?).ok();
    let mut found = Vec::new();
    found.extend(read(PROCFILE).map(|text| procfile(&text)).unwrap_or_default());
    let composed = COMPOSE.iter().find_map(|name| read(name).map(|text| compose_suggestions(name, &text)));
    found.extend(composed.unwrap_or_default());
    let locked = LOCKS.iter().find(|(lock, _)| directory.join(lock).exists()).map(|(_, runner)| *runner);
    found.extend(read("package.json").map(|text| package(&text, locked)).unwrap_or_default());
    if directory.join("src/main.rs").is_file() {
        found.extend(read("Cargo.toml").and_then(|text| cargo(&text)));
    }
    rename_duplicates(&mut found);
    found
}

fn suggest(source: &str, name: &str, start_command: String) -> Option<Suggestion> {
    let name = service_name(name)?;
    let (shell, dependencies) = Default::default();
    Some(Suggestion { source: source.to_owned(), name, start_command, shell, dependencies })
}

/// The valid service name that is most similar to `text`.
fn service_name(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let name: String = name.trim_start_matches(['.', '_', '-']).chars().take(64).collect();
    match name.as_str() {
        "" => None,
        reserved if RESERVED_NAMES.contains(&reserved) => Some("app".to_owned()),
        _ => Some(name),
    }
}

fn procfile(text: &str) -> Vec<Suggestion> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let lines = lines.map(|(name, command)| (name.trim(), command.trim()));
    lines
        .filter(|(name, command)| !name.starts_with('#') && !name.contains(' ') && !command.is_empty())
        .filter_map(|(name, command)| {
            Some(Suggestion { shell: Some("sh".to_owned()), ..suggest(PROCFILE, name, command.to_owned())? })
        })
        .collect()
}

fn compose_suggestions(source: &str, text: &str) -> Vec<Suggestion> {
    let services = compose::services(text).into_iter();
    services
        .filter_map(|service| {
            let start = format!("docker compose up --no-deps --no-log-prefix {}", service.name);
            let dependencies = service.needs.iter().filter_map(|name| service_name(name)).collect();
            Some(Suggestion { dependencies, ..suggest(source, &service.name, start)? })
        })
        .collect()
}

fn package(text: &str, locked: Option<&str>) -> Vec<Suggestion> {
    let package: Value = serde_json::from_str(text).unwrap_or_default();
    // The declaration, such as `pnpm@9.1.0`, takes precedence over a lock file.
    let named = package["packageManager"].as_str().and_then(|named| named.split('@').next());
    let named = named.filter(|named| RUNNERS.contains(named));
    let runner = named.or(locked).unwrap_or("npm");
    let has = |script: &&&str| package["scripts"][**script].is_string();
    let scripts = LONG_RUNNING_SCRIPTS.iter().filter(has);
    scripts.filter_map(|script| suggest("package.json", script, format!("{runner} run {script}"))).collect()
}

fn cargo(text: &str) -> Option<Suggestion> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "[package]").skip(1);
    let name = lines.by_ref().take_while(|line| !line.starts_with('[')).find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "name").then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    })?;
    suggest("Cargo.toml", &name, "cargo run --release".to_owned())
}

/// Renames suggestions with equal names.
fn rename_duplicates(found: &mut [Suggestion]) {
    for at in 0..found.len() {
        let (before, rest) = found.split_at_mut(at);
        let taken = |name: &str| before.iter().any(|other| other.name == name);
        let name = rest[0].name.clone();
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name));
        rest[0].name = free.unwrap_or(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    fn detected(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let found = detect(directory(files).path()).into_iter();
        found.map(|suggestion| (suggestion.name, suggestion.start_command)).collect()
    }

    fn pair(name: &str, command: &str) -> (String, String) {
        (name.into(), command.into())
    }

    #[test]
    fn each_file_suggests_what_it_speaks_of_and_no_name_twice() {
        let files = [
            ("Procfile", "# all\nweb: bin/web -p $PORT\nworker: bin/work\n\nnonsense\n"),
            (
                "package.json",
                r#"{"scripts": {"start": "node .", "dev": "vite", "build": "tsc", "worker": "node w"}}"#,
            ),
            ("pnpm-lock.yaml", ""),
            ("Cargo.toml", "[workspace]\n\n[package]\nname = \"shop\"\n[dependencies]\nname = \"no\"\n"),
            ("src/main.rs", ""),
        ];
        let expected = [
            pair("web", "bin/web -p $PORT"),
            pair("worker", "bin/work"),
            pair("app", "pnpm run start"),
            pair("dev", "pnpm run dev"),
            pair("worker-2", "pnpm run worker"),
            pair("shop", "cargo run --release"),
        ];
        assert_eq!(detected(&files), expected);
    }

    #[test]
    fn the_package_manager_is_that_which_the_package_names() {
        let package = |manager: &str| {
            let text = format!(r#"{{"packageManager": "{manager}", "scripts": {{"dev": "vite"}}}}"#);
            detected(&[("package.json", &text), ("yarn.lock", "")])
        };
        assert_eq!(package("pnpm@9.1.0"), [pair("dev", "pnpm run dev")]);
        assert_eq!(package("\u{7f}odd"), [pair("dev", "yarn run dev")]);
    }

    #[test]
    fn a_release_is_done_once_and_an_env_file_is_used() {
        let found = procfile("web: bin/web\nrelease: bin/migrate\n");
        let texts: Vec<String> = found.iter().map(|service| commented(service, Some(".env"))).collect();
        assert!(texts[0].ends_with("# shell = \"sh\"\n# env_file = \".env\"\n"), "{}", texts[0]);
        assert!(texts[1].contains("# oneshot = true\n"), "{}", texts[1]);
    }

    #[test]
    fn what_is_not_understood_suggests_nothing() {
        assert_eq!(
            detected(&[("package.json", "{"), ("compose.yaml", "- a\n"), ("Procfile", "\u{0}\n")]),
            []
        );
        assert_eq!(detected(&[("Procfile", ": no name\n--: x\n")]), []);
    }

    #[test]
    fn a_name_becomes_one_that_a_service_may_have() {
        assert_eq!(service_name("my app!").as_deref(), Some("my-app-"));
        assert_eq!(service_name("@scope").as_deref(), Some("scope"));
        assert_eq!(service_name("start").as_deref(), Some("app"));
        assert_eq!(service_name("..."), None);
        assert_eq!(key("a.b"), "\"a.b\"");
    }
}
