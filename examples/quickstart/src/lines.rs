//! The protocol of database and cache: a request is one line (`get KEY` or `add KEY`), and the answer is one line (a number).

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A request of a client.
pub(crate) enum Request<'a> {
    /// Reads the value of the key.
    Get(&'a str),
    /// Increments the value of the key, and reads it.
    Add(&'a str),
}

impl<'a> Request<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        match line.split_once(' ')? {
            ("get", key) => Some(Self::Get(key)),
            ("add", key) => Some(Self::Add(key)),
            _ => None,
        }
    }
}

/// Answers each line of each client. Never returns without an error.
pub(crate) fn serve<F>(port: u16, answer: F) -> io::Result<()>
where
    F: Fn(&Request<'_>) -> io::Result<u64> + Send + Sync + 'static,
{
    let listener = listen(port)?;
    let answer = Arc::new(answer);
    for stream in listener.incoming() {
        let (stream, answer) = (stream?, Arc::clone(&answer));
        thread::spawn(move || serve_client(&stream, &*answer));
    }
    Ok(())
}

fn serve_client(mut stream: &TcpStream, answer: &dyn Fn(&Request<'_>) -> io::Result<u64>) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let Some(request) = Request::parse(&line) else {
            writeln!(stream, "cannot understand `{line}`")?;
            continue;
        };
        match answer(&request) {
            Ok(number) => writeln!(stream, "{number}")?,
            Err(error) => writeln!(stream, "{error}")?,
        }
    }
    Ok(())
}

/// Sends one line to a server, and returns the answer.
pub(crate) fn send_line(address: &str, line: &str) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    answer.trim().parse().map_err(|_| io::Error::other(format!("{address} says: {}", answer.trim())))
}

/// Listens on loopback and prints the address.
pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on port {port}: {error}")))?;
    println!("listening on port {port}");
    Ok(listener)
}
