//! A service that behaves as a test requests: slowly, ignoring signals, forking, crashing, or normally.
//!
//! Its arguments are a script of steps, which it performs in order. Afterwards it waits for a signal.

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::setsid;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::{Command, Stdio, exit};
use std::thread::{self, park, sleep};
use std::time::Duration;

fn main() {
    let mut script = std::env::args().skip(1);
    while let Some(act) = script.next() {
        let mut next = || script.next().unwrap_or_else(|| panic!("{act} needs an argument"));
        match act.as_str() {
            // When standard input ends, kill every process that belongs to the project in this directory, and exit.
            "guard" => guard(std::path::Path::new(&next())),
            // Wait this many milliseconds.
            "wait" => sleep(Duration::from_millis(number(&next()))),
            // Wait until this file exists.
            "gate" => {
                let file = next();
                while !std::path::Path::new(&file).exists() {
                    sleep(Duration::from_millis(5));
                }
            }
            "say" => println!("{}", next()),
            "moan" => eprintln!("{}", next()),
            // Print numbered lines without end, at an interval of this many milliseconds.
            "count" => {
                let pause = Duration::from_millis(number(&next()));
                thread::spawn(move || count(pause));
            }
            // Print this many numbered lines.
            "chatter" => (1..=number(&next())).for_each(|n| println!("line {n}")),
            // Lock this file, or record in a file beside it that another process holds it, and crash.
            "alone" => alone(&next()),
            // Append a line to this file.
            "note" => note(&next()),
            // Crash unless a process listens on this port.
            "need" => need(&next()),
            // Accept on this port and hang up.
            "listen" => listen(&next(), |_| ()),
            // Accept on this port and never answer.
            "hang" => listen(&next(), std::mem::forget),
            // Answer every HTTP request on this port with the status in this file, or with this status.
            "http" => http(&next(), next()),
            // Answer every HTTP request on this port with 204. Connections are served one after the other, each until
            // the client closes it.
            "keep" => listen(&next(), |stream| keep(&stream)),
            // Like `keep`, for all connections concurrently. Once this file exists, only existing connections are
            // served.
            "retire" => retire(&next(), next()),
            // Answer on this port with one byte at a time, at an interval of this many milliseconds.
            "drip" => {
                let (port, pause) = (next(), Duration::from_millis(number(&next())));
                listen(&port, move |stream| drip(stream, pause));
            }
            // Answer on this port with 200 and an endless body.
            "endless" => listen(&next(), endless),
            "unix" => drop(thread::spawn({
                let listener = UnixListener::bind(next()).expect("the path is free");
                move || listener.incoming().for_each(drop)
            })),
            // Report readiness to the shim.
            "notify" => notify(),
            // Ignore TERM from here on.
            "deaf" => SigSet::from(Signal::SIGTERM).thread_block().expect("a signal can be blocked"),
            // Start a child that keeps running.
            "fork" => drop(idle("wait").spawn().expect("a child can be started")),
            // Start a grandchild that leaves the session and whose parent has exited.
            "daemonize" => drop(idle("detach").status().expect("a child can be started")),
            "detach" => {
                setsid().expect("a fresh child leads no group");
                idle("wait").spawn().expect("a child can be started");
                exit(0);
            }
            // Continue when this file exists.
            "await" => {
                let file = next();
                while !std::path::Path::new(&file).exists() {
                    sleep(Duration::from_millis(5));
                }
            }
            // Allocate and use this many mebibytes, or crash if that fails.
            "eat" => eat(number(&next())),
            // Crash until this file has this many lines.
            "crash-until" => crash_until(number(&next()), &next()),
            "exit" => exit(i32::try_from(number(&next())).expect("an exit code is small")),
            _ => panic!("no test service knows how to `{act}`"),
        }
    }
    loop {
        park();
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn count(pause: Duration) -> ! {
    let mut number = 0u64;
    loop {
        number += 1;
        println!("{number}");
        sleep(pause);
    }
}

fn note(file: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(file).expect("the file can be written");
    writeln!(file, "{}", std::process::id()).expect("the file can be written");
}

fn alone(file: &str) {
    let lock = File::create(file).expect("the file can be written");
    if lock.try_lock().is_err() {
        note(&format!("{file}.twice"));
        exit(9);
    }
    // The lock is held until this process exits.
    std::mem::forget(lock);
}

fn need(port: &str) {
    if TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
        eprintln!("nobody listens on {port}");
        exit(7);
    }
}

fn listen(port: &str, serve: impl FnMut(TcpStream) + Send + 'static) {
    let listener = bind(port);
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
}

/// The loopback address is used if only a port is given.
fn bind(port: &str) -> TcpListener {
    let address = if port.contains(':') { port.to_owned() } else { format!("127.0.0.1:{port}") };
    TcpListener::bind(address).unwrap_or_else(|error| {
        eprintln!("cannot listen on port {port}: {error}");
        exit(98);
    })
}

fn keep(stream: &TcpStream) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while lines.by_ref().take_while(|line| !line.is_empty()).count() > 0 {
        if (&*stream).write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").is_err() {
            return; // the client has disconnected
        }
    }
}

fn retire(port: &str, file: String) {
    let listener = bind(port);
    listener.set_nonblocking(true).expect("a socket can be told so");
    thread::spawn(move || {
        while !std::path::Path::new(&file).exists() {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).expect("a socket can be told so");
                    drop(thread::spawn(move || keep(&stream)));
                }
                Err(_) => sleep(Duration::from_millis(2)),
            }
        }
    });
}

fn http(port: &str, status: String) {
    listen(port, move |mut stream| {
        let status = std::fs::read_to_string(&status).unwrap_or_else(|_| status.clone());
        drain_request(&stream);
        let head =
            format!("HTTP/1.1 {} As Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status.trim());
        drop(stream.write_all(head.as_bytes())); // the client may have disconnected
    });
}

/// Reads a request up to its end.
fn drain_request(stream: &TcpStream) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).for_each(drop);
}

fn drip(mut stream: TcpStream, pause: Duration) {
    drain_request(&stream);
    for byte in *b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" {
        if stream.write_all(&[byte]).is_err() {
            return; // the client has disconnected
        }
        sleep(pause);
    }
}

fn endless(mut stream: TcpStream) {
    drain_request(&stream);
    let body = [b'x'; 4096];
    let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    while sent.is_ok() {
        sent = stream.write_all(&body);
    }
}

fn notify() {
    let name = std::env::var("NOTIFY_SOCKET").expect("a service with notify = true has a NOTIFY_SOCKET");
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let datagram = UnixDatagram::unbound().expect("a socket can be made");
    let sent = address.and_then(|address| datagram.send_to_addr(b"READY=1\n", &address));
    sent.expect("the shim listens");
}

fn eat(mebibytes: u64) {
    let bytes = usize::try_from(mebibytes << 20).expect("it is a small machine");
    let mut held = Vec::new();
    if held.try_reserve_exact(bytes).is_err() {
        eprintln!("there is no memory left");
        exit(12);
    }
    while held.len() < bytes {
        held.extend_from_slice(&[1_u8; 4096]);
    }
    std::mem::forget(held);
}

fn idle(act: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program knows its own path"));
    command.arg(act).stdin(Stdio::null());
    if act == "wait" {
        command.arg("0");
    }
    command
}

fn crash_until(lines: u64, file: &str) {
    note(file);
    let written = std::fs::read_to_string(file).expect("we wrote it just now").lines().count();
    if (written as u64) < lines {
        eprintln!("crash number {written}");
        exit(1);
    }
}

fn guard(directory: &std::path::Path) -> ! {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    // A killed process may have started others, so repeat until none is left.
    for _ in 0..100 {
        let left = service_tests::marked(directory);
        if left.is_empty() {
            break;
        }
        for pid in left {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        sleep(Duration::from_millis(20));
    }
    exit(0)
}
