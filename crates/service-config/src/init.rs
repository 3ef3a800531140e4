//! `service init`: writes a first services.toml, with explanations, and with suggestions from other files as comments.

mod compose;
mod detect;

use service_api::view::{InitResult, Suggestion};
use service_api::{Code, Problem, project};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::iter::once;
use std::path::{Path, absolute};

const PAGE: &str = r#"# The services of this project. In Nushell, here or below: `service start web`, `service status`, `service stop web`.
# `service check` says what is wrong with this file; `orchestratord defaults` prints every setting with its default.
# Take out the `# ` before a line to use it.

# [services.web]
# description = "What it is for"
# start_command = "python3 -m http.server 8080"             # the program itself: run directly, supervised, logged
# health_check_endpoint = "http://localhost:8080/"          # also tcp://, unix://, dns:// and exec:
# dependencies = ["database"]                               # started first, stopped last
# env = { LOG_LEVEL = "info" }
# env_file = ".env"                                         # NAME=value lines, read at each start
# restart = "on-failure"                                    # or "always", "no"
# stop_timeout = "10s"                                      # then the whole process tree is killed
#
# [services.web.health]
# interval = "10s"
# retries = 3                                               # unhealthy after this many failed checks in a row
#
# [services.migrate]
# start_command = "./migrate"
# oneshot = true                                            # does its work and ends; ready is its success
#
# [services.coredns]                                        # run by another supervisor: Nushell command lines
# start_command = "systemctl start coredns"
# manager = "command"
# stop_command = "systemctl stop coredns"
#
# [orchestrator.service_defaults]                           # for services without a value of their own
# restart = "always"
"#;

/// The services that [`PAGE`] defines.
const EXAMPLES: [&str; 3] = ["web", "migrate", "coredns"];

/// The env file that Procfile runners read.
const ENV_FILE: &str = ".env";

/// Writes `file`, by default services.toml in the current directory. An existing file is replaced only with `force`.
///
/// # Errors
/// [`Code::Exists`] if the file exists, [`Code::Internal`] if it cannot be written.
pub fn write(file: Option<&Path>, force: bool) -> Result<InitResult, Problem> {
    let named = file.unwrap_or(Path::new(project::FILE));
    let cannot = |error| {
        let message = format!("cannot write `{}`: {error}", named.display());
        Problem::new(Code::Internal, message)
    };
    let path = absolute(named).map_err(cannot)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let suggestions = detect::detect(directory);
    let env_file = directory.join(ENV_FILE).is_file().then_some(ENV_FILE);
    let replaced = force && path.exists();
    let mut options = OpenOptions::new();
    let options = options.write(true).truncate(true).create(force).create_new(!force);
    let written =
        options.open(&path).and_then(|mut file| file.write_all(render(&suggestions, env_file).as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Problem::new(Code::Exists, format!("`{}` exists already", path.display()))
                .help("keep it, or replace it with `--force`")
        }
        _ => cannot(error),
    })?;
    Ok(InitResult { path: path.display().to_string(), replaced, suggestions })
}

/// The content of the file, which consists of comments only.
fn render(suggestions: &[Suggestion], env_file: Option<&str>) -> String {
    let taken = |name: &str| suggestions.iter().any(|suggestion| suggestion.name == name);
    // Without its comment signs, the file must not define two services of one name.
    let mut page = EXAMPLES.into_iter().filter(|name| taken(name)).fold(PAGE.to_owned(), |page, name| {
        let free =
            once(format!("{name}-example")).chain((2..).map(|number| format!("{name}-example-{number}")));
        let free = free.into_iter().find(|free| !taken(free)).unwrap_or_default();
        let named = |rest: char| format!("[services.{name}{rest}");
        let renamed = |rest: char| format!("[services.{free}{rest}");
        page.replace(&named(']'), &renamed(']')).replace(&named('.'), &renamed('.'))
    });
    let mut source = "";
    for suggestion in suggestions {
        if suggestion.source != source {
            source = &suggestion.source;
            let _ = write!(page, "\n# --- as {source} has it ---\n"); // writing to a string cannot fail
        }
        let _ = write!(page, "\n{}", detect::commented(suggestion, env_file));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_all_comments_and_each_suggestion_stands_under_its_source() {
        let suggestion = |source: &str, name: &str| Suggestion {
            source: source.into(),
            name: name.into(),
            start_command: "say \"hi\"".into(),
            shell: Some("sh".into()),
            dependencies: vec!["db".into()],
        };
        let page = render(&[suggestion("Procfile", "web"), suggestion("Procfile", "worker")], None);
        assert_eq!(page.matches("# [services.web]").count(), 1, "no name stands there twice");
        assert!(page.contains("# [services.web-example.health]"));
        assert!(page.lines().all(|line| line.is_empty() || line.starts_with('#')), "{page}");
        assert_eq!(page.matches("as Procfile has it").count(), 1);
        assert!(page.contains(
            "# [services.worker]\n# start_command = \"say \\\"hi\\\"\"\n# shell = \"sh\"\n# dependencies = [\"db\"]\n"
        ));
    }
}
