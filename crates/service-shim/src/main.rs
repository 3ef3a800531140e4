//! `service-shim`: keeps one run of one service. The daemon starts one of these as the template, with a socket as standard
//! input; the template becomes a shim for each parcel that it is sent, by forking: an `exec` for each would cost more
//! time than that and leave more memory behind. An argument is the number of descriptors that services may have open.
//!
//! One thread and no runtime: there is one shim for every service, so its memory and its start count.

mod bounds;
mod control;
mod error;
mod keeper;
mod nest;
mod notify;
mod shim;
mod spawn;
mod tree;

use error::because;
use nest::Nest;
use nix::sys::prctl;
use nix::unistd::dup2_stdin;
use service_shim::PROTOCOL_VERSION;
use service_shim::protocol::Hello;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

fn main() -> ExitCode {
    service_shim::strays::close();
    match template() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("service-shim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns when the daemon and every shim have gone, and in a shim when it has done its work.
fn template() -> io::Result<()> {
    let mut daemon = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    daemon.peer_addr().map_err(|error| because("use standard input as a socket", &error))?;
    // A shim that waits must not hold this end: the daemon would send launches to a template that is dead.
    let null = File::open("/dev/null").and_then(|null| Ok(dup2_stdin(&null)?));
    null.map_err(|error| because("let go of standard input", &error))?;
    // A terminal's signals are not for us; EPERM says that the daemon has seen to it.
    let _ = nix::unistd::setsid();
    prctl::set_name(c"shim-template").map_err(|error| because("name itself", &error))?;
    let descriptors = std::env::args().nth(1).map(|number| number.parse()).transpose();
    let descriptors = descriptors.map_err(|error| because("read how many descriptors there are", &error))?;
    let nest = Nest::new(descriptors).map_err(|error| because("look after shims", &error))?;
    // What the processor can do is asked once, and not by every shim: in a virtual machine that takes longer than a fork.
    let _ = memchr::memchr(b'\n', b"once");
    let mut hello = serde_json::to_vec(&Hello { version: PROTOCOL_VERSION })?;
    hello.push(b'\n');
    match daemon.write_all(&hello) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()), // the daemon has gone before it was needed
        greeted => greeted.map_err(|error| because("greet", &error)).and_then(|()| nest.tend(daemon)),
    }
}
