//! [`quoted`]: what a program wrote, where it stands within a sentence of ours. It may be anything, also what not everybody may
//! read, so one can tell where it begins and ends ([`OPEN`], [`CLOSE`]), wherever the sentence goes.

/// Before what a program wrote.
pub const OPEN: char = '“';
/// Behind it.
pub const CLOSE: char = '”';

/// What a program wrote, as it stands in a message.
pub fn quoted(text: &str) -> String {
    let inside = text.replace([OPEN, CLOSE], "\"");
    format!("{OPEN}{inside}{CLOSE}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_cannot_end_its_quotation() {
        assert_eq!(quoted("a ” b “ c"), "“a \" b \" c”");
    }
}
