//! [`quoted`]: the output of a program within a message. The output may contain anything, including private data, so
//! its limits are marked ([`OPEN`], [`CLOSE`]) wherever the message appears.

/// The beginning of a program's output.
pub const OPEN: char = '“';
/// The end of a program's output.
pub const CLOSE: char = '”';

/// The output of a program as part of a message.
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
