//! [`NdjsonStream`]: a response of one JSON object per line. The response may be endless, and another thread can shut
//! the stream down.
//!
//! The blocking client of reqwest cannot be interrupted while it reads, so this is a separate client. The daemon
//! responds in chunks; the last chunk distinguishes a complete response from an interrupted one.

use crate::client::{Client, decode, target};
use crate::connection::{Connection, ShutdownHandle};
use serde::de::DeserializeOwned;
use service_api::{Code, Envelope, Problem, routes};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::marker::PhantomData;
use std::time::Duration;

/// The time limit for the response head.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The size of the read buffers. Log lines can be long.
const BUFFER_BYTES: usize = 64 * 1024;

/// The rows of a response.
pub struct NdjsonStream<T> {
    /// `None` after the end.
    body: Option<BufReader<Chunks>>,
    line: Vec<u8>,
    rows: PhantomData<T>,
}

impl<T: DeserializeOwned> NdjsonStream<T> {
    /// Sends the request. Returns once the daemon has accepted it.
    ///
    /// # Errors
    /// The problem in the response, if the daemon refuses the request; [`Code::DaemonUnreachable`] if no daemon
    /// responds.
    pub fn open(
        client: &Client,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(Self, ShutdownHandle), Problem> {
        let (connection, headers) = client.connect()?;
        let accepted = Self::request(connection, &target(path, query), &headers).map_err(|error| {
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    Problem::new(Code::Timeout, "the daemon did not answer in time")
                }
                // The TLS handshake failed.
                io::ErrorKind::InvalidData => client.connection_error(&error),
                _ => daemon_ended(),
            }
        })?;
        accepted.map_err(|problem| client.localize(problem))
    }

    fn request(
        mut connection: Connection,
        target: &str,
        headers: &str,
    ) -> io::Result<Result<(Self, ShutdownHandle), Problem>> {
        connection.set_read_timeout(Some(ACCEPT_TIMEOUT))?;
        let accept = routes::NDJSON;
        let request =
            format!("GET {target} HTTP/1.1\r\n{headers}accept: {accept}\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes())?;
        let shutdown = connection.shutdown_handle()?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, connection);
        let mut status = String::new();
        reader.read_line(&mut status)?;
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        if status.split(' ').nth(1) != Some("200") {
            let mut body = Vec::new();
            reader.read_to_end(&mut body)?;
            let odd = || Problem::new(Code::Internal, format!("the daemon answered `{}`", status.trim()));
            return Ok(Err(decode::<serde_json::Value>(&body).err().unwrap_or_else(odd)));
        }
        reader.get_ref().set_read_timeout(None)?;
        let body = Some(BufReader::with_capacity(BUFFER_BYTES, Chunks { reader, left: 0, over: false }));
        Ok(Ok((Self { body, line: Vec::new(), rows: PhantomData }, shutdown)))
    }
}

impl<T> NdjsonStream<T> {
    /// Whether the next row is buffered, so that it can be read without waiting.
    pub fn has_next(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.buffer().contains(&b'\n'))
    }
}

impl<T: DeserializeOwned> Iterator for NdjsonStream<T> {
    type Item = Result<T, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        match self.body.as_mut()?.read_until(b'\n', &mut self.line) {
            Ok(0) => {
                self.body = None;
                None
            }
            Ok(_) => Some(parse_row(&self.line)),
            Err(_) => {
                self.body = None;
                Some(Err(daemon_ended()))
            }
        }
    }
}

fn daemon_ended() -> Problem {
    Problem::new(Code::DaemonUnreachable, "the daemon ended before it answered")
        .help("services keep running; `service status` shows their states")
}

/// Parses one row. A successful row, the usual case, is parsed only once.
fn parse_row<T: DeserializeOwned>(line: &[u8]) -> Result<T, Problem> {
    match serde_json::from_slice::<Envelope<T>>(line) {
        Ok(envelope) => envelope.into_result(),
        Err(_) => decode(line),
    }
}

/// A chunked body. Each chunk consists of its length in hexadecimal, a line end, the bytes and a line end; the last
/// chunk is empty.
struct Chunks {
    reader: BufReader<Connection>,
    left: usize,
    over: bool,
}

impl Chunks {
    fn begin(&mut self) -> io::Result<()> {
        let mut length = String::new();
        self.reader.read_line(&mut length)?;
        let digits = length.split([';', '\r', '\n']).next().unwrap_or_default();
        // The length is empty if the connection was closed.
        self.left = usize::from_str_radix(digits, 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        self.over = self.left == 0;
        Ok(())
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.over {
            self.begin()?;
        }
        if self.over {
            return Ok(0);
        }
        let most = self.left.min(buffer.len());
        let length = self.reader.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length;
        if self.left == 0 {
            self.reader.read_exact(&mut [0; 2])?;
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Clients;
    use crate::mock_daemon::{MockDaemon, MockReply};
    use service_api::Outcome;
    use std::sync::mpsc::channel;

    fn open(daemon: &MockDaemon) -> Result<(NdjsonStream<Outcome>, ShutdownHandle), Problem> {
        NdjsonStream::open(
            &Clients::default().for_socket(&daemon.socket).unwrap(),
            routes::WAIT,
            &[("names", "a b"), ("for", "")],
        )
    }

    #[test]
    fn a_silent_answer_ends_when_its_shutdown_is_dropped() {
        let (_say, rows) = channel::<String>();
        let mut rows = Some(rows);
        let daemon = MockDaemon::serving(move |_| MockReply::Rows(rows.take().unwrap()));
        let (mut stream, shutdown) = open(&daemon).unwrap();
        let reader = std::thread::spawn(move || stream.next().is_some_and(|row| row.is_err()));
        drop(shutdown);
        assert!(reader.join().unwrap(), "the response ended without its last chunk");
        assert!(daemon.requests()[0].starts_with("GET /api/v1/wait?names=a%20b HTTP/1.1\r\n"));
    }

    #[test]
    fn a_row_is_there_before_the_next_one_is_sent() {
        let (say, rows) = channel();
        let mut rows = Some(rows);
        let daemon = MockDaemon::serving(move |_| MockReply::Rows(rows.take().unwrap()));
        let (mut stream, _shutdown) = open(&daemon).unwrap();
        for name in ["a", "b"] {
            say.send(crate::mock_daemon::outcome(name, true)).unwrap();
            assert_eq!(stream.next().unwrap().unwrap().name, name);
        }
        drop(say);
        assert!(stream.next().is_none());
    }

    #[test]
    fn a_daemon_that_ends_in_the_middle_of_its_answer_is_noticed() {
        let (say, rows) = channel();
        let mut rows = Some(rows);
        let daemon = MockDaemon::serving(move |_| MockReply::Rows(rows.take().unwrap()));
        let (mut stream, _shutdown) = open(&daemon).unwrap();
        say.send(crate::mock_daemon::CRASH.into()).unwrap();
        assert_eq!(stream.next().unwrap().unwrap_err().code, Code::DaemonUnreachable);
        assert!(stream.next().is_none());
    }

    #[test]
    fn a_refusal_is_taken_out_of_its_envelope() {
        let daemon = MockDaemon::serving(|_| MockReply::failure(404, "not_found", "there is no service `a`"));
        assert_eq!(open(&daemon).err().unwrap().code, Code::NotFound);
        let daemon = MockDaemon::serving(|_| MockReply::Json(500, "oh".into()));
        assert_eq!(open(&daemon).err().unwrap().code, Code::Internal);
    }
}
