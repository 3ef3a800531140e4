//! The web application: counts its visitors on `/`, and reports its health on `/health`.

use crate::lines::{listen, send_line};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Serves one visitor after the other.
pub(crate) fn serve(port: u16, cache: &str) -> io::Result<()> {
    for stream in listen(port)?.incoming() {
        if let Err(error) = answer(&stream?, cache) {
            eprintln!("cannot answer a visitor: {error}");
        }
    }
    Ok(())
}

fn answer(mut stream: &TcpStream, cache: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let head: Vec<String> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let (status, body) = match path {
        "/" => page(send_line(cache, "add visits").map(|number| format!("You are visitor number {number}"))),
        "/health" => page(send_line(cache, "get visits").map(|number| format!("ok, {number} visits so far"))),
        _ => ("404 Not Found", format!("there is no {path} here")),
    };
    println!("{path} {status}");
    let length = body.len() + 1;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}\n"
    )
}

fn page(body: io::Result<String>) -> (&'static str, String) {
    match body {
        Ok(body) => ("200 OK", body),
        Err(error) => ("503 Service Unavailable", format!("cannot reach the cache: {error}")),
    }
}
