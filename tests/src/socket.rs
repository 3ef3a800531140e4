//! Simple HTTP requests over a Unix socket or TCP, like `curl --unix-socket`.

use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Sends a request without a body and returns the status and the JSON of the response.
pub fn http(socket: &Path, method: &str, path: &str) -> (u16, Value) {
    parsed(&request(socket, method, path).expect("the daemon answers"))
}

fn parsed(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status is a number");
    let body = if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() };
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {answer}")))
}

/// Joins a chunked body.
pub fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a chunk has a length");
        body.push_str(&rest[..length]);
        chunks = rest[length..].trim_start_matches("\r\n");
    }
    body
}

/// Follows a streamed response: the JSON of each line, as it arrives.
pub fn follow(socket: &Path, path: &str) -> impl Iterator<Item = Value> + use<> {
    let mut stream = UnixStream::connect(socket).expect("the daemon listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n")
        .expect("the daemon reads");
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let rows = lines.skip_while(|line| !line.is_empty()).skip(1);
    rows.map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}")))
}

/// Sends a request with a body and returns the status and the JSON of the response.
pub fn post(socket: &Path, path: &str, body: &str) -> (u16, Value) {
    parsed(&send(socket, "POST", path, body).expect("the daemon answers"))
}

/// Sends a request during which the daemon may die, and returns the received bytes.
pub fn request(socket: &Path, method: &str, path: &str) -> io::Result<String> {
    send(socket, method, path, "")
}

fn send(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close");
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Sends bytes to a daemon over TCP, and returns its output until it hangs up.
pub fn tcp(address: &str, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
