//! The output of Nushell is printable, whatever a service, its file and its directory contain. `nu/tests/printing.nu`
//! tests the values of each command; these tests check standard output and standard error.

use service_tests::{Project, eventually};
use std::path::Path;

/// Control sequences in a TOML string: clipboard, clear, home, two of C1, direction, and a colour.
const BAD: &str =
    r"\u001b]52;c;eA==\u0007\u001b[2J\u001b[H\u009b2J\u009d0;t\u0007\u202e\u001b[31mred\u001b[0m";

const LINES: [&str; 9] = [
    "service start --all --timeout 10sec",
    "service status --long",
    "service logs",
    "service why loud",
    "service list",
    "service health",
    "service check",
    "service events",
    "service start nobody",
];

/// The first control sequence in a text that is not a colour.
fn order(text: &str) -> Option<String> {
    let is_order = |char: char| {
        char.is_control() && !matches!(char, '\n' | '\t' | '\r')
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let is_colour = |rest: &str| {
        rest.strip_prefix("\u{1b}[").is_some_and(|rest| {
            rest.trim_start_matches(|char: char| char.is_ascii_digit() || ";:".contains(char))
                .starts_with('m')
        })
    };
    let at = text.char_indices().find(|(at, char)| is_order(*char) && !is_colour(&text[*at..]))?.0;
    Some(text[at..].chars().take(40).collect())
}

#[test]
fn no_byte_that_commands_a_terminal_comes_out_of_either_front() {
    let hostile = format!(
        "[services.loud]\ndescription = \"{BAD}\"\nstart_command = [TEST_SERVICE, \"say\", \"{BAD}\"]\n\
         health_check_endpoint = \"exec:printf '{BAD}'\"\n\
         [services.lost]\nstart_command = \"x{BAD}\"\nworking_dir = \"/nowhere{BAD}\"\n"
    );
    let Some(project) = Project::new(&hostile) else { return };
    let front = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nu/service-http");
    let fronts = [String::new(), format!("use {} *; ", front.display())];
    for front in &fronts {
        for line in LINES {
            let answer = project.nu(&format!("{front}{line} | table --expand"));
            for text in [&answer.stdout, &answer.stderr] {
                assert_eq!(order(text), None, "{front}{line}");
            }
        }
    }
    eventually("it has said it", || {
        project.nu("service logs loud --raw").stdout.contains("\u{1b}]52;c;eA==\u{7}\u{1b}[2J").then_some(())
    });
    // The same holds for a file that is invalid in several ways.
    for wrong in [
        "# \u{1b}]0;t\u{7}\u{1b}[2J\u{9b}2J\n".to_owned(),
        format!("[services.\"n{BAD}\"]\nstart_command = 'true'\n"),
        format!("[services.a]\nstart_command = 'true'\n\"k{BAD}\" = 1\n"),
    ] {
        project.write("services.toml", &wrong);
        for front in &fronts {
            for line in ["service list", "service check", "service start a"] {
                let answer = project.nu(&format!("{front}{line} | table --expand"));
                assert_eq!(order(&answer.stdout).or(order(&answer.stderr)), None, "{front}{line}: {wrong:?}");
            }
        }
    }
}
