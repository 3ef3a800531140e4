//! [`quoted`]: the output of a program within a message. The output may contain any text, including private data, so
//! its beginning and end are marked ([`OPEN`], [`CLOSE`]) in every message.

/// The mark before a program's output.
pub const OPEN: char = '“';
/// The mark after a program's output.
pub const CLOSE: char = '”';

/// Marks the output of a program, for use in a message.
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
