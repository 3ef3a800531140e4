//! A mock daemon for tests: a Unix socket that returns the responses of the test.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "only tests use it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

/// A special row, at which the daemon ends.
pub const CRASH: &str = "crash";

/// The response to one request.
pub enum MockReply {
    /// A complete response.
    Json(u16, String),
    /// One line per string, until the sender is dropped.
    Rows(Receiver<String>),
    /// No response while the client stays connected.
    Silence,
}

impl MockReply {
    /// A successful envelope with this JSON.
    pub fn data(json: &str) -> Self {
        Self::Json(200, format!(r#"{{"success":true,"data":{json},"error":null}}"#))
    }

    /// A failure envelope.
    pub fn failure(status: u16, code: &str, message: &str) -> Self {
        let error = format!(r#"{{"code":"{code}","message":"{message}"}}"#);
        Self::Json(status, format!(r#"{{"success":false,"data":null,"error":{error}}}"#))
    }
}

/// A mock daemon that listens.
pub struct MockDaemon {
    /// The path of its socket.
    pub socket: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
    _dir: Option<tempfile::TempDir>,
}

impl MockDaemon {
    /// Listens on a temporary socket and responds to each request. `reply` receives the head of the request.
    pub fn serving(reply: impl FnMut(&str) -> MockReply + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Self::serving_at(&dir.path().join("d.sock"), reply);
        Self { _dir: Some(dir), ..daemon }
    }

    /// Like [`MockDaemon::serving`], on this socket.
    pub fn serving_at(socket: &Path, mut reply: impl FnMut(&str) -> MockReply + Send + 'static) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read_request(&stream) else {
                    continue;
                };
                notes.lock().unwrap().push(request.clone());
                let reply = reply(&request);
                std::thread::spawn(move || answer(stream, reply));
            }
        });
        Self { socket: socket.to_path_buf(), requests, _dir: None }
    }

    /// The requests so far, each with head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Writes a program. Another process writes it, because a file that is open for writing in this process cannot be
/// executed.
pub fn program(path: &Path, script: &str) {
    let written = Command::new("sh")
        .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod +x "$0""#])
        .arg(path)
        .arg(script)
        .status();
    assert!(written.unwrap().success());
}

/// The row of a named service.
pub fn outcome(name: &str, ok: bool) -> String {
    let error = if ok {
        "null".into()
    } else {
        format!(r#"{{"code":"start_failed","message":"cannot start `{name}`","help":"look"}}"#)
    };
    format!(
        r#"{{"success":true,"data":{{"name":"{name}","ok":{ok},"action":"started","status":"running",
        "health":"healthy","took_ms":1.5,"named":true,"error":{error}}},"error":null}}"#
    )
    .replace('\n', "")
}

fn read_request(stream: &UnixStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    head.push_str(&String::from_utf8_lossy(&body));
    Some(head)
}

fn answer(mut stream: UnixStream, reply: MockReply) {
    // A client that has hung up is not a failure of the test.
    let _ = match reply {
        MockReply::Json(status, body) => {
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
        }
        MockReply::Rows(rows) => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            for row in rows {
                if row == CRASH {
                    return; // without the last chunk the response is incomplete
                }
                let _ = write!(stream, "{:x}\r\n{row}\n\r\n", row.len() + 1);
            }
            write!(stream, "0\r\n\r\n")
        }
        MockReply::Silence => stream.read(&mut [0]).map(drop),
    };
}
