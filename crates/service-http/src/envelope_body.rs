//! [`EnvelopeWriter`]: the envelope around the rows of a response, written in chunks.

use serde::Serialize;
use service_api::Envelope;

/// The size at which a chunk is complete.
pub(super) const CHUNK_BYTES: usize = 8 * 1024;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EnvelopeForm {
    /// All rows in one envelope.
    List,
    /// Each row in its own envelope, on its own line.
    Lines,
}

/// Writes the rows of one response.
pub(super) struct EnvelopeWriter {
    form: EnvelopeForm,
    /// Whether the envelope of a list is open.
    is_open: bool,
    chunk: Vec<u8>,
}

impl EnvelopeWriter {
    pub(super) fn new(form: EnvelopeForm) -> Self {
        Self { form, is_open: false, chunk: Vec::new() }
    }

    /// The bytes since the last chunk.
    pub(super) fn len(&self) -> usize {
        self.chunk.len()
    }

    pub(super) fn write_row<T: Serialize>(&mut self, row: &T) {
        match self.form {
            EnvelopeForm::List => {
                self.open_list();
                self.write(row);
            }
            EnvelopeForm::Lines => self.write_envelope(&Envelope::success(row)),
        }
    }

    /// Writes one whole line.
    pub(super) fn write_envelope<T: Serialize>(&mut self, envelope: &Envelope<T>) {
        self.write(envelope);
        self.chunk.push(b'\n');
    }

    /// Writes a row that is already JSON.
    pub(super) fn write_text(&mut self, text: &str) {
        self.chunk.extend_from_slice(text.as_bytes());
    }

    /// Closes the envelope of a list, with notes if there are any.
    pub(super) fn finish(&mut self, notes: &[String]) {
        if self.form == EnvelopeForm::Lines {
            return;
        }
        if !self.is_open {
            self.chunk.extend_from_slice(OPENING);
        }
        self.chunk.extend_from_slice(b"],\"error\":null");
        if !notes.is_empty() {
            self.chunk.extend_from_slice(b",\"notes\":");
            self.write(&notes);
        }
        self.chunk.push(b'}');
    }

    /// The next chunk of the response. The buffer is shrunk to its length, because a slow client may hold it for long.
    pub(super) fn next_chunk(&mut self) -> Vec<u8> {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.shrink_to_fit();
        chunk
    }

    fn open_list(&mut self) {
        self.chunk.extend_from_slice(if self.is_open { b"," } else { OPENING });
        self.is_open = true;
    }

    fn write<T: Serialize>(&mut self, value: &T) {
        // This cannot fail: all values can be represented in JSON, and the writer is in memory.
        let _ = serde_json::to_writer(&mut self.chunk, value);
    }
}

const OPENING: &[u8] = b"{\"success\":true,\"data\":[";

/// One row in its envelope, with a line end.
pub(super) fn line<T: Serialize>(row: T) -> Vec<u8> {
    let mut writer = EnvelopeWriter::new(EnvelopeForm::Lines);
    writer.write_row(&row);
    writer.next_chunk()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: EnvelopeForm, rows: &[u32], notes: &[String]) -> String {
        let mut writer = EnvelopeWriter::new(form);
        let mut text = Vec::new();
        for row in rows {
            writer.write_row(row);
            text.extend(writer.next_chunk());
        }
        writer.finish(notes);
        text.extend(writer.next_chunk());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_chunks_of_an_answer_are_what_one_envelope_would_be() {
        for rows in [&[][..], &[1], &[1, 2, 3]] {
            let whole = serde_json::to_string(&Envelope::success(rows)).unwrap();
            assert_eq!(written(EnvelopeForm::List, rows, &[]), whole);
        }
        let lines =
            "{\"success\":true,\"data\":1,\"error\":null}\n{\"success\":true,\"data\":2,\"error\":null}\n";
        assert_eq!(written(EnvelopeForm::Lines, &[1, 2], &[]), lines);
        let noted = written(EnvelopeForm::List, &[1], &["a note".to_owned()]);
        assert_eq!(noted, "{\"success\":true,\"data\":[1],\"error\":null,\"notes\":[\"a note\"]}");
    }
}
