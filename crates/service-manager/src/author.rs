//! [`Author`]: whether a module is built in, and how its messages are quoted.

use service_api::quoted;

/// The author of a module: the orchestrator or the user. Built-in modules quote the output of programs themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    Us,
    Others,
}

impl Author {
    /// Marks a message as a quotation, unless the module is built in. A message of a user's module may contain any
    /// output.
    pub(super) fn mark(self, text: String) -> String {
        match self {
            Self::Us => text,
            Self::Others if text.trim().is_empty() => text,
            Self::Others => quoted(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_quoted_and_nothing_stays_nothing() {
        assert_eq!(Author::Others.mark("on".to_owned()), "“on”");
        assert_eq!(Author::Us.mark("on".to_owned()), "on");
        assert_eq!(Author::Others.mark(" ".to_owned()), " ");
    }
}
