//! Finds the external program at the beginning of a Nushell command line.

/// First words of the commands and keywords of Nushell.
const COMMANDS: &str = "\
abbr alias all ansi any append ast attr bits break bytes cal cd char chunk-by chunks clear collect columns combinations \
commandline compact complete config const continue cp date debug decode def default describe detect difference do drop du each \
echo encode enumerate error every exec exit explain explore export export-env extern fill filter find first flatten for format \
from generate get glob grid group-by hash headers help hide hide-env histogram history http idx if ignore input insert inspect \
interleave intersect into is-admin is-empty is-not-empty is-redirected is-terminal items job join keybindings kill last length \
let let-env lines load-env loop ls match math matrix merge metadata mkdir mktemp module move mut mv nu-check nu-highlight open \
overlay panic par-each parse path peek permutations plugin port prepend print ps query random reduce reject rename return \
reverse rm roll rotate run run-external run-internal save schema scope select semver seq shuffle skip sleep slice sort sort-by \
source source-env split start stor str sys table take tee term timeit to touch transpose try tutor ulimit umask uname union \
uniq uniq-by unlet update upsert url use values version view watch where which while whoami window with-env wrap zip \
true false null not";

/// The external program that this line runs first; `None` for a command of Nushell, and for anything but a plain word.
pub(super) fn program(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let (word, is_external) = match line.strip_prefix('^') {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let word = word.split_whitespace().next()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+');
    let may_be_value = word.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    // Nushell interprets a `.nu` script itself.
    let is_script = word.rsplit_once('.').is_some_and(|(_, extension)| extension == "nu");
    let is_name = word.chars().all(is_plain) && word.contains(char::is_alphabetic) && !may_be_value;
    let is_command = !is_external && COMMANDS.split_whitespace().any(|command| command == word);
    (is_name && !is_script && !is_command).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_word_that_is_no_command_of_nushell_is_a_program() {
        assert_eq!(program("systemctl start web"), Some("systemctl"));
        assert_eq!(program("  ^ls -l"), Some("ls"));
        assert_eq!(program("./bin/start | complete"), Some("./bin/start"));
        for line in
            ["", "ls", "if true { a }", "$cmd", "(a)", "'my program' x", "A=1 b", "~/bin/a", "1 + 2", "x.nu"]
        {
            assert_eq!(program(line), None, "{line}");
        }
    }
}
