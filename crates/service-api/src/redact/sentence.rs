//! Recognizes this program's own error messages with a cause, such as ``cannot start `api-key`: exited with code 3``.
//! The name in such a message is a service, a program, a host or a file, even if it looks like the name of a secret.

/// The texts before such a name.
const BEFORE: [&str; 23] = [
    "cannot add ",
    "cannot apply ",
    "cannot ask systemd for ",
    "cannot become user ",
    "cannot check ",
    "cannot disable ",
    "cannot enable ",
    "cannot explain ",
    "cannot look up ",
    "cannot open ",
    "cannot reach ",
    "cannot read ",
    "cannot read the log of ",
    "cannot register ",
    "cannot remove ",
    "cannot restart ",
    "cannot run ",
    "cannot start ",
    "cannot stop ",
    "cannot wait for ",
    "cannot write ",
    "is not for ",
    "so does that of ",
];

/// Whether the name from `start` to the colon at `colon` is followed by a cause and not by a value. This holds if the
/// name is in backticks, and is a path or the object of a failed action.
pub(super) fn is_followed_by_cause(text: &str, start: usize, colon: usize) -> bool {
    let (before, after) = (&text[..start], &text[start..colon]);
    if !after.ends_with('`') {
        return false;
    }
    let is_path = before.ends_with('/');
    is_path || before.strip_suffix('`').is_some_and(|before| BEFORE.iter().any(|said| before.ends_with(said)))
}
