//! The service of every measured system. It reports that it is alive, and then does nothing until it is stopped.
//!
//! `payload SOCKET alive`: a datagram with its process id goes to SOCKET. `payload SOCKET listen PORT MS`: after MS
//! milliseconds it listens on a port of loopback, and then reports that: to SOCKET, to the socket of `$NOTIFY_SOCKET`
//! if set, and to the descriptor of `$READY_FD`. `payload SOCKET lines N BYTES`: writes N lines of a hundred bytes,
//! BYTES bytes a write, and exits.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [socket, what @ ..] = words.as_slice() else { return Err("payload SOCKET WHAT".into()) };
    match what {
        ["alive"] => notify(socket)?,
        ["listen", port, milliseconds] => {
            std::thread::sleep(Duration::from_millis(milliseconds.parse()?));
            let listener = TcpListener::bind(("127.0.0.1", port.parse()?))?;
            if let Some(notified) = std::env::var_os("NOTIFY_SOCKET") {
                UnixDatagram::unbound()?.send_to(b"READY=1", notified)?;
            }
            if let Ok(descriptor) = std::env::var("READY_FD") {
                std::fs::write(format!("/proc/self/fd/{descriptor}"), "\n")?;
            }
            notify(socket)?;
            std::mem::forget(listener);
        }
        ["lines", count, bytes] => return write(count.parse()?, bytes.parse()?),
        _ => return Err(format!("payload cannot {what:?}").into()),
    }
    loop {
        std::thread::park();
    }
}

fn notify(socket: &str) -> std::io::Result<()> {
    UnixDatagram::unbound()?.send_to(std::process::id().to_string().as_bytes(), socket).map(|_| ())
}

/// The last line differs: it ends with a one.
fn write(count: usize, bytes: usize) -> Result<(), Box<dyn Error>> {
    let line = |number| format!("{number:099}\n").into_bytes();
    let a_time = (bytes / 100).max(1);
    let text = line(0).repeat(a_time);
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let now = left.min(a_time);
        out.write_all(&text[..now * 100])?;
        left -= now;
    }
    Ok(out.write_all(&line(1))?)
}
