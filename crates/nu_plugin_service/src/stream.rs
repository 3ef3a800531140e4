//! [`Follow`]: an answer that comes line by line, need never end, and can be broken off from another thread.
//!
//! That last point is why this is not reqwest: its blocking client cannot be told to stop reading. The daemon answers
//! in chunks, so an answer that ends with the daemon is told from one that has come to its end.

use crate::client::{Client, decode, target};
use crate::wire::{Leash, Wire};
use serde::de::DeserializeOwned;
use service_api::{Code, Envelope, Problem, routes};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::marker::PhantomData;
use std::time::Duration;

/// How long the daemon may take to accept.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(10);
/// Lines are long where a service's are.
const BUFFER: usize = 64 * 1024;

/// The lines of an answer.
pub(crate) struct Follow<T> {
    /// `None` after the end.
    body: Option<BufReader<Chunks>>,
    line: Vec<u8>,
    rows: PhantomData<T>,
}

impl<T: DeserializeOwned> Follow<T> {
    /// Asks; returns once the daemon has accepted.
    pub(crate) fn open(
        client: &Client,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(Self, Leash), Problem> {
        let (wire, said) = client.wire()?;
        let asked = Self::ask(wire, &target(path, query), &said).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Problem::new(Code::Timeout, "the daemon did not answer in time")
            }
            // A certificate that is no good.
            io::ErrorKind::InvalidData => client.unreached(&error),
            _ => ended(),
        })?;
        asked.map_err(|problem| client.as_seen_from_here(problem))
    }

    fn ask(mut wire: Wire, target: &str, said: &str) -> io::Result<Result<(Self, Leash), Problem>> {
        wire.patience(Some(ACCEPTS_WITHIN))?;
        let accept = routes::NDJSON;
        let request = format!("GET {target} HTTP/1.1\r\n{said}accept: {accept}\r\nconnection: close\r\n\r\n");
        wire.write_all(request.as_bytes())?;
        let leash = wire.leash()?;
        let mut reader = BufReader::with_capacity(BUFFER, wire);
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
        reader.get_ref().patience(None)?;
        let body = Some(BufReader::with_capacity(BUFFER, Chunks { reader, left: 0, over: false }));
        Ok(Ok((Self { body, line: Vec::new(), rows: PhantomData }, leash)))
    }
}

impl<T> Follow<T> {
    /// Whether the next line has been read already, and comes without a wait.
    pub(crate) fn has_next(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.buffer().contains(&b'\n'))
    }
}

impl<T: DeserializeOwned> Iterator for Follow<T> {
    type Item = Result<T, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        match self.body.as_mut()?.read_until(b'\n', &mut self.line) {
            Ok(0) => {
                self.body = None;
                None
            }
            Ok(_) => Some(row(&self.line)),
            Err(_) => {
                self.body = None;
                Some(Err(ended()))
            }
        }
    }
}

fn ended() -> Problem {
    Problem::new(Code::DaemonUnreachable, "the daemon ended before it answered")
        .help("services keep running; `service status` shows how they are")
}

/// A row is most often a success, and there may be very many: no second look at those.
fn row<T: DeserializeOwned>(line: &[u8]) -> Result<T, Problem> {
    match serde_json::from_slice::<Envelope<T>>(line) {
        Ok(envelope) => envelope.into_result(),
        Err(_) => decode(line),
    }
}

/// A body in chunks: each its length in hexadecimal, a line end, so many bytes and a line end; the last is empty.
struct Chunks {
    reader: BufReader<Wire>,
    left: usize,
    over: bool,
}

impl Chunks {
    fn begin(&mut self) -> io::Result<()> {
        let mut length = String::new();
        self.reader.read_line(&mut length)?;
        let digits = length.split([';', '\r', '\n']).next().unwrap_or_default();
        // Nothing at all is no length either: the connection broke.
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
    use crate::fake::{Daemon, Reply};
    use service_api::Outcome;
    use std::sync::mpsc::channel;

    fn open(daemon: &Daemon) -> Result<(Follow<Outcome>, Leash), Problem> {
        Follow::open(
            &Clients::default().of(&daemon.socket).unwrap(),
            routes::WAIT,
            &[("names", "a b"), ("for", "")],
        )
    }

    #[test]
    fn a_silent_answer_ends_when_its_leash_is_dropped() {
        let (_say, rows) = channel::<String>();
        let mut rows = Some(rows);
        let daemon = Daemon::serving(move |_| Reply::Rows(rows.take().unwrap()));
        let (mut follow, leash) = open(&daemon).unwrap();
        let reader = std::thread::spawn(move || follow.next().is_some_and(|row| row.is_err()));
        drop(leash);
        assert!(reader.join().unwrap(), "it ended, and not as an answer ends");
        assert!(daemon.heard()[0].starts_with("GET /api/v1/wait?names=a%20b HTTP/1.1\r\n"));
    }

    #[test]
    fn a_row_is_there_before_the_next_one_is_sent() {
        let (say, rows) = channel();
        let mut rows = Some(rows);
        let daemon = Daemon::serving(move |_| Reply::Rows(rows.take().unwrap()));
        let (mut follow, _leash) = open(&daemon).unwrap();
        for name in ["a", "b"] {
            say.send(crate::fake::outcome(name, true)).unwrap();
            assert_eq!(follow.next().unwrap().unwrap().name, name);
        }
        drop(say);
        assert!(follow.next().is_none());
    }

    #[test]
    fn a_daemon_that_ends_in_the_middle_of_its_answer_is_noticed() {
        let (say, rows) = channel();
        let mut rows = Some(rows);
        let daemon = Daemon::serving(move |_| Reply::Rows(rows.take().unwrap()));
        let (mut follow, _leash) = open(&daemon).unwrap();
        say.send(crate::fake::CRASH.into()).unwrap();
        assert_eq!(follow.next().unwrap().unwrap_err().code, Code::DaemonUnreachable);
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
