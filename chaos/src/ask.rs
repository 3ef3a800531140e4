//! Sends one request over the daemon's socket, and distinguishes the kinds of failures.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The result of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A status, with the body as JSON or as text.
    Told(u16, Value),
    /// No process listens on the socket.
    Nobody,
    /// The connection was closed early: the daemon was killed.
    #[expect(dead_code, reason = "it is printed")]
    Broken(String),
    /// The connection is open, but nothing arrived within the client's limit.
    Silence,
}

/// Sends a request and waits for its response.
pub(crate) fn send_request(socket: &Path, method: &str, path: &str, body: &str, wait: Duration) -> Answer {
    let Ok(mut stream) = UnixStream::connect(socket) else { return Answer::Nobody };
    let asked = stream.set_read_timeout(Some(wait)).and_then(|()| stream.set_write_timeout(Some(wait)));
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    let asked = asked.and_then(|()| stream.write_all(format!("{head}{body}").as_bytes()));
    let mut told = Vec::new();
    match asked.and_then(|()| stream.read_to_end(&mut told)) {
        Ok(_) => read(&told),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Answer::Silence
        }
        Err(error) => Answer::Broken(error.to_string()),
    }
}

fn read(told: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(told);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Answer::Broken(format!("an answer of {} bytes", told.len()));
    };
    let Some(status) = head.split(' ').nth(1).and_then(|status| status.parse().ok()) else {
        return Answer::Broken(format!("no status in `{head}`"));
    };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    if length.is_some_and(|length: usize| body.len() < length) {
        return Answer::Broken("the answer is cut off".into());
    }
    let is_json = head.to_ascii_lowercase().contains("content-type: application/json");
    match serde_json::from_str(body) {
        Ok(value) => Answer::Told(status, value),
        Err(_) if is_json => Answer::Broken("the answer is cut off".into()),
        Err(_) => Answer::Told(status, Value::String(body.to_owned())),
    }
}
