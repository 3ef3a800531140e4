//! [`Follow`]: an answer that comes line by line, need never end, and can be broken off from another thread.
//!
//! That last point is why this is not reqwest: its blocking client cannot be told to stop reading. The request is
//! HTTP/1.0, which the daemon answers in one piece that ends with the connection, so there is nothing to decode.

use crate::client::{decode, target};
use serde::de::DeserializeOwned;
use service_api::{Code, Envelope, Problem, routes};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::marker::PhantomData;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the daemon may take to accept.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(10);
/// Lines are long where a service's are.
const BUFFER: usize = 64 * 1024;

/// The lines of an answer.
pub(crate) struct Follow<T> {
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
    rows: PhantomData<T>,
}

/// Ends a [`Follow`], wherever it is read, when it is dropped.
pub(crate) struct Leash(UnixStream);

impl Drop for Leash {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both); // the daemon may have closed it before
    }
}

impl<T: DeserializeOwned> Follow<T> {
    /// Asks; returns once the daemon has accepted.
    pub(crate) fn open(socket: &Path, path: &str, query: &[(&str, &str)]) -> Result<(Self, Leash), Problem> {
        let stream = UnixStream::connect(socket).map_err(|error| {
            Problem::new(Code::DaemonUnreachable, format!("cannot connect to the daemon: {error}"))
        })?;
        Self::ask(stream, &target(path, query)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Problem::new(Code::Timeout, "the daemon did not answer in time")
            }
            _ => Problem::new(
                Code::DaemonUnreachable,
                format!("the daemon ended before it had answered: {error}"),
            ),
        })?
    }

    fn ask(mut stream: UnixStream, target: &str) -> io::Result<Result<(Self, Leash), Problem>> {
        stream.set_read_timeout(Some(ACCEPTS_WITHIN))?;
        write!(stream, "GET {target} HTTP/1.0\r\nHost: localhost\r\nAccept: {}\r\n\r\n", routes::NDJSON)?;
        let leash = Leash(stream.try_clone()?);
        let mut reader = BufReader::with_capacity(BUFFER, stream);
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
        Ok(Ok((Self { reader, line: Vec::new(), rows: PhantomData }, leash)))
    }
}

/// Ends when the daemon closes, or when the leash is dropped.
impl<T: DeserializeOwned> Iterator for Follow<T> {
    type Item = Result<T, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        match self.reader.read_until(b'\n', &mut self.line) {
            // A line without its end was cut off with the daemon.
            Ok(_) if !self.line.ends_with(b"\n") => None,
            Ok(_) => Some(row(&self.line)),
            Err(_) => None,
        }
    }
}

/// A row is most often a success, and there may be very many: no second look at those.
fn row<T: DeserializeOwned>(line: &[u8]) -> Result<T, Problem> {
    match serde_json::from_slice::<Envelope<T>>(line) {
        Ok(envelope) => envelope.into_result(),
        Err(_) => decode(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Daemon, Reply};
    use service_api::Outcome;
    use std::sync::mpsc::channel;

    fn open(daemon: &Daemon) -> Result<(Follow<Outcome>, Leash), Problem> {
        Follow::open(&daemon.socket, routes::WAIT, &[("names", "a b"), ("for", "")])
    }

    #[test]
    fn a_silent_answer_ends_when_its_leash_is_dropped() {
        let (_say, rows) = channel::<String>();
        let mut rows = Some(rows);
        let daemon = Daemon::serving(move |_| Reply::Lines(rows.take().unwrap()));
        let (mut follow, leash) = open(&daemon).unwrap();
        let reader = std::thread::spawn(move || follow.next().is_none());
        drop(leash);
        assert!(reader.join().unwrap());
        assert!(daemon.heard()[0].starts_with("GET /api/v1/wait?names=a%20b HTTP/1.0\r\n"));
    }

    #[test]
    fn a_row_is_there_before_the_next_one_is_sent() {
        let (say, rows) = channel();
        let mut rows = Some(rows);
        let daemon = Daemon::serving(move |_| Reply::Lines(rows.take().unwrap()));
        let (mut follow, _leash) = open(&daemon).unwrap();
        for name in ["a", "b"] {
            say.send(crate::fake::outcome(name, true)).unwrap();
            assert_eq!(follow.next().unwrap().unwrap().name, name);
        }
        drop(say);
        assert!(follow.next().is_none());
    }

    #[test]
    fn a_refusal_is_taken_out_of_its_envelope() {
        let daemon = Daemon::serving(|_| Reply::failure(404, "not_found", "there is no service `a`"));
        assert_eq!(open(&daemon).err().unwrap().code, Code::NotFound);
        let daemon = Daemon::serving(|_| Reply::Json(500, "oh".into()));
        assert_eq!(open(&daemon).err().unwrap().code, Code::Internal);
    }
}
