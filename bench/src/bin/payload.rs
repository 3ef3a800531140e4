//! The service of every measured system. It costs almost nothing: a static program (`cargo xtask bench` links it so)
//! without the runtime of Rust, which writes times of `CLOCK_MONOTONIC` into its slot of a page in memory.
//!
//! `payload PAGE SLOT alive`: writes the time of its `main` and its process id, and does nothing until it is stopped.
//! `payload PAGE SLOT listen PORT MS`: after MS milliseconds it also writes the time, and listens on a port of
//! loopback. It reports that to the socket of `$NOTIFY_SOCKET` and to the descriptor of `$READY_FD`, if set.
//! `payload PAGE SLOT serve PORT`: answers each HTTP request on that port with 200, and closes the connection.
//! `payload PAGE SLOT lines N BYTES`: writes N lines of a hundred bytes, BYTES bytes a write, and exits.

#![no_main]

use nix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The place of a service in the page: when it began, its process id, and when it listened.
const SLOT_BYTES: u64 = 24;
const LISTENED_AT: u64 = 16;

#[expect(unsafe_code, reason = "the C library calls this symbol")]
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    match now().and_then(run) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("payload: {error}");
            1
        }
    }
}

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Nanoseconds of the clock that the bench reads too.
fn now() -> Fallible<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    Ok(u64::try_from(time.as_nanos())?)
}

fn run(begun: u64) -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [page, slot, what @ ..] = words.as_slice() else { return Err("payload PAGE SLOT WHAT".into()) };
    let page = File::options().write(true).open(page)?;
    let at = slot.parse::<u64>()? * SLOT_BYTES;
    let mut alive = [0; 16];
    alive[..8].copy_from_slice(&begun.to_ne_bytes());
    alive[8..].copy_from_slice(&u64::from(std::process::id()).to_ne_bytes());
    page.write_all_at(&alive, at)?;
    match what {
        ["alive"] => pause(),
        ["listen", port, milliseconds] => {
            std::thread::sleep(Duration::from_millis(milliseconds.parse()?));
            page.write_all_at(&now()?.to_ne_bytes(), at + LISTENED_AT)?;
            let _listener = TcpListener::bind(("127.0.0.1", port.parse()?))?;
            report(slot)?;
            pause()
        }
        ["serve", port] => serve(&TcpListener::bind(("127.0.0.1", port.parse()?))?),
        ["lines", count, bytes] => write(count.parse()?, bytes.parse()?),
        _ => Err(format!("payload cannot {what:?}").into()),
    }
}

fn pause() -> ! {
    loop {
        nix::unistd::pause();
    }
}

/// The slot is for the baseline; systemd ignores it.
fn report(slot: &str) -> Fallible<()> {
    if let Some(notified) = std::env::var_os("NOTIFY_SOCKET") {
        UnixDatagram::unbound()?.send_to(format!("READY=1\nX_SLOT={slot}").as_bytes(), notified)?;
    }
    if let Ok(descriptor) = std::env::var("READY_FD") {
        std::fs::write(format!("/proc/self/fd/{descriptor}"), "\n")?;
    }
    Ok(())
}

/// A request of a check arrives in one piece.
fn serve(listener: &TcpListener) -> Fallible<()> {
    let mut request = [0; 4096];
    loop {
        let (mut stream, _) = listener.accept()?;
        let answered = stream.read(&mut request).and_then(|_| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        });
        // A client may disconnect before the response is written.
        drop(answered);
    }
}

/// Writes the lines. Only the last line ends with the digit 1.
fn write(count: usize, bytes: usize) -> Fallible<()> {
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
