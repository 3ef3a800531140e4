//! [`Relay`]: a loopback port that forwards to a Unix socket, for programs that speak only TCP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

/// Forwards until the test ends.
pub struct Relay {
    port: u16,
}

impl Relay {
    /// Starts to forward connections to a socket.
    pub fn to(socket: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let socket: PathBuf = socket.to_path_buf();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let socket = socket.clone();
                thread::spawn(move || lead(&client, &socket));
            }
        });
        Self { port }
    }

    /// The URL of the port.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn lead(client: &TcpStream, socket: &Path) -> io::Result<()> {
    let daemon = UnixStream::connect(socket)?;
    let (from_client, to_daemon) = (client.try_clone()?, daemon.try_clone()?);
    let asking = thread::spawn(move || {
        pass(from_client, &to_daemon);
        let _ = to_daemon.shutdown(Shutdown::Write);
    });
    pass(daemon, client);
    // Further input of the client is dropped.
    let _ = client.shutdown(Shutdown::Both);
    asking.join().map_err(|_| io::Error::other("the other direction failed"))
}

fn pass(mut from: impl Read, mut to: impl Write) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}
