//! What the benches measure and nobody else needs: readers of what others send, each given as much as one likes.

use crate::host::text::single_line;
use crate::http::wants_lines;
use crate::journal::pieces_of_starts;
use std::hint::black_box;
use std::path::Path;

/// Reads an `Accept`.
pub fn accept(said: &str) {
    black_box(wants_lines(said));
}

/// Makes a message of a manager fit to be shown.
pub fn manager(said: &str) {
    drop(black_box(single_line(said)));
}

/// Reads the answer of a DNS server, as the check of a name does, and says what it has. Returns how long that is.
pub fn dns(answer: &[u8]) -> usize {
    crate::probe::describe_dns_answer(answer).len()
}

/// Tells the starts of a journal, in pieces of a few. Returns how many there are.
pub fn starts(journal: &Path) -> usize {
    pieces_of_starts(journal)
}
