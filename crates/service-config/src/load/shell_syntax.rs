//! Finds shell syntax in a command that runs without a shell, so that the program receives the words unchanged.
//!
//! The command is split like in a shell, because quoted characters are meant literally.

use std::iter::Peekable;
use std::str::CharIndices;

/// Built-ins and keywords of shells, in place of a program.
const BUILTINS: [&str; 24] = [
    ".", "(", "[[", "alias", "case", "cd", "eval", "exec", "export", "for", "function", "if", "popd",
    "pushd", "set", "source", "trap", "ulimit", "umask", "unset", "until", "wait", "while", "{",
];
/// Programs whose arguments may have shell syntax or a similar language.
const INTERPRETERS: [&str; 14] = [
    "awk", "bash", "dash", "fish", "gawk", "ksh", "mawk", "nu", "perl", "python", "python3", "ruby", "sh",
    "zsh",
];

/// Shell syntax that the program would receive as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellSyntax {
    /// The message, such as "`&&` is passed on as a word".
    pub message: String,
    /// The help: the replacement.
    pub help: &'static str,
}

/// How a character of a word is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    None,
    Double,
    Literal,
}

/// One word of a command.
type Word = Vec<(char, Quoting)>;

/// The first shell syntax in a command. Further occurrences are not reported, because `shell` solves all of them.
pub fn find(command: &str) -> Option<ShellSyntax> {
    let words = split(command);
    let program = words.first().map(text).unwrap_or_default();
    let interprets = INTERPRETERS.contains(&program.rsplit('/').next().unwrap_or_default());
    first_word(&program, words.first()?)
        .or_else(|| words.iter().skip(1).find_map(operator))
        .or_else(|| words.iter().find_map(|word| expansion(word, interprets)))
}

/// Whether the first word is shell syntax, so that it is not the name of a program.
pub(super) fn is_for_shell(command: &str) -> bool {
    let words = split(command);
    words
        .first()
        .is_some_and(|word| first_word(&text(word), word).or_else(|| expansion(word, false)).is_some())
}

/// A message about `~` or `$NAME` in a path, where neither is expanded.
pub(super) fn find_in_path(path: &str) -> Option<String> {
    let written = path.chars().map(|character| (character, Quoting::None)).collect();
    if begins_with_home(&written) {
        return Some("`~` is not expanded here: write the full path".to_owned());
    }
    variable(&written, false).map(|name| format!("`{name}` is not expanded here: write the full path"))
}

/// The names of the variables that a shell would expand in this text.
pub(super) fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('$').filter_map(|(at, _)| {
        let rest = &text[at + 1..];
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        Some(&rest[..end]).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
    })
}

fn first_word(program: &str, word: &Word) -> Option<ShellSyntax> {
    if word.iter().any(|(_, quoting)| *quoting != Quoting::None) {
        return None;
    }
    if let Some((name, _)) = program.split_once('=')
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return Some(ShellSyntax {
            message: format!("`{name}=` is read as part of the program's name"),
            help: "set the variable in `env`, or set `shell = \"sh\"`",
        });
    }
    BUILTINS.contains(&program).then(|| ShellSyntax {
        message: format!("`{program}` is a shell command, not a program"),
        help: match program {
            "cd" => "set `working_dir`, or `shell = \"sh\"`",
            "exec" => "remove `exec`, or set `shell = \"sh\"`",
            _ => "set `shell = \"sh\"`",
        },
    })
}

fn operator(word: &Word) -> Option<ShellSyntax> {
    let bare: String =
        word.iter().map(|(c, quoting)| if *quoting == Quoting::None { *c } else { 'x' }).collect();
    let redirection =
        bare.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&').starts_with(['<', '>']);
    let is_operator = redirection
        || matches!(bare.as_str(), "|" | "&" | "|&" | ";")
        || bare.contains("&&")
        || bare.contains("||")
        || (bare.len() > 1 && bare.ends_with([';', '&']) && !bare.contains("://"));
    is_operator.then(|| ShellSyntax {
        message: format!("`{}` is passed as an argument", text(word)),
        help: "set `shell = \"sh\"` to run the command in a shell",
    })
}

fn expansion(word: &Word, interprets: bool) -> Option<ShellSyntax> {
    let help = "set `shell = \"sh\"` to run the command in a shell";
    if let Some(name) = variable(word, interprets) {
        return Some(ShellSyntax { message: format!("`{name}` is not expanded"), help });
    }
    if begins_with_home(word) {
        return Some(ShellSyntax { message: "`~` is not expanded".to_owned(), help });
    }
    if word.iter().any(|(c, quoting)| *c == '`' && expands(*quoting, interprets)) {
        return Some(ShellSyntax {
            message: "a command between back-ticks is passed as text".to_owned(),
            help,
        });
    }
    let bare: String = word.iter().filter(|(_, quoting)| *quoting == Quoting::None).map(|(c, _)| c).collect();
    // No warning for `**` and for a pattern in an option or a URL, because programs expand these themselves.
    let is_pattern = bare.contains(['.', '/']) && bare.contains('*') && !bare.contains("**");
    (is_pattern && !bare.starts_with('-') && !bare.contains("://"))
        .then(|| ShellSyntax { message: format!("`{}` is not expanded to file names", text(word)), help })
}

fn begins_with_home(word: &Word) -> bool {
    let mut characters = word.iter();
    characters.next() == Some(&('~', Quoting::None))
        && characters.next().is_none_or(|next| *next == ('/', Quoting::None))
}

/// Whether a shell would expand `$` and back-ticks in this quoting. An interpreter itself expands them in double
/// quotes.
fn expands(quoting: Quoting, interprets: bool) -> bool {
    match quoting {
        Quoting::None => true,
        Quoting::Double => !interprets,
        Quoting::Literal => false,
    }
}

/// The first `$NAME`, `${…}` or `$(…)` of a word.
fn variable(word: &Word, interprets: bool) -> Option<String> {
    let mut dollars =
        word.iter().enumerate().filter(|(_, (c, quoting))| *c == '$' && expands(*quoting, interprets));
    dollars.find_map(|(at, _)| {
        let rest: String = word[at + 1..].iter().map(|(c, _)| c).collect();
        match rest.chars().next()? {
            '{' => rest.find('}').map(|end| format!("${}", &rest[..=end])),
            '(' => Some("$(…)".to_owned()),
            first if first.is_ascii_alphabetic() || first == '_' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                Some(format!("${}", &rest[..end]))
            }
            _ => None,
        }
    })
}

fn text(word: &Word) -> String {
    word.iter().map(|(c, _)| c).collect()
}

/// Splits a command into words. An unclosed quotation ends with the text.
fn split(command: &str) -> Vec<Word> {
    let (mut words, mut word, mut begun) = (Vec::new(), Word::new(), false);
    let mut rest = command.char_indices().peekable();
    while let Some((_, c)) = rest.next() {
        match c {
            c if c.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            '\\' => word.extend(rest.next().map(|(_, escaped)| (escaped, Quoting::Literal))),
            '\'' => word.extend(until(&mut rest, '\'').map(|c| (c, Quoting::Literal))),
            '"' => double(&mut rest, &mut word),
            c => word.push((c, Quoting::None)),
        }
        begun = true;
    }
    if begun {
        words.push(word);
    }
    words
}

fn until<'r>(rest: &'r mut Peekable<CharIndices<'_>>, end: char) -> impl Iterator<Item = char> + 'r {
    rest.map(|(_, c)| c).take_while(move |c| *c != end)
}

fn double(rest: &mut Peekable<CharIndices<'_>>, word: &mut Word) {
    while let Some((_, c)) = rest.next() {
        match c {
            '"' => return,
            '\\' if matches!(rest.peek(), Some((_, '$' | '`' | '"' | '\\'))) => {
                word.extend(rest.next().map(|(_, escaped)| (escaped, Quoting::Literal)));
            }
            c => word.push((c, Quoting::Double)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{find, find_in_path, variables};

    #[test]
    fn what_only_a_shell_would_act_on_is_found() {
        for (command, word) in [
            ("mkdir -p data && sleep 9", "`&&`"),
            ("a&&b x&&y", "`x&&y`"),
            ("sleep 9 | cat", "`|`"),
            ("sleep 9 > out.txt", "`>`"),
            ("sleep 9 >out.txt", "`>out.txt`"),
            ("sleep 9 2>&1", "`2>&1`"),
            ("sleep 9; echo x", "`9;`"),
            ("sleep 9 &", "`&`"),
            ("sleep 9&", "`9&`"),
            ("sleep $N", "`$N`"),
            ("serve --port=${PORT:-80}", "`${PORT:-80}`"),
            ("serve \"http://$HOST/\"", "`$HOST`"),
            ("kill $(cat pid)", "`$(…)`"),
            ("cat ~/notes", "`~`"),
            ("sleep `echo 9`", "back-ticks"),
            ("ls *.py", "`*.py`"),
            ("PORT=1 sleep 9", "`PORT=`"),
            ("cd web", "`cd`"),
            ("exec sleep 9", "`exec`"),
            ("sh -c x && y", "`&&`"),
        ] {
            let found = find(command).unwrap_or_else(|| panic!("{command}"));
            assert!(found.message.contains(word), "{command}: {}", found.message);
        }
    }

    #[test]
    fn what_is_quoted_or_means_something_to_the_program_is_left_alone() {
        for command in [
            "sh -c 'cd web && exec serve $PORT > log'",
            "bash -c \"echo $HOME; sleep 9\"",
            "awk '{ print $1 }'",
            "curl http://host/?a=1&b=2",
            "serve --origin *",
            "serve --glob src/**/*.ts",
            "serve --price $5 --tag a|b --json {\"a\":1}",
            "find . -name '*.py' -exec ls {} \\;",
            "serve \\$PORT '~' a~b",
            "tool =x",
            "",
        ] {
            assert_eq!(find(command), None, "{command}");
        }
    }

    #[test]
    fn a_path_is_not_expanded_and_a_text_names_its_variables() {
        assert!(find_in_path("~/web").is_some() && find_in_path("$HOME/web").is_some());
        assert!(find_in_path("a~/web").is_none() && find_in_path("pa$$/1").is_none());
        assert_eq!(variables("${A}/$B:$5$").collect::<Vec<_>>(), ["A", "B"]);
    }
}
