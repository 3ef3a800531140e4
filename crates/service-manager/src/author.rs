//! [`Author`]: whether a module comes with the orchestrator, and how its messages are quoted.

use service_api::quoted;

/// Who wrote a module. Those that come with us quote by themselves what programs said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    Us,
    Others,
}

impl Author {
    /// Words of such a module, as they stand in a message: those of others may be anything.
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
