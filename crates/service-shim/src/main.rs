//! `service-shim`: keeps one run of one service. The daemon starts one of these as the template, with a socket as standard
//! input; the template becomes a shim for each parcel that it is sent, by forking: an `exec` for each would cost more
//! time than that and leave more memory behind. An argument is the number of descriptors that services may have open.
//!
//! One thread and no runtime: there is one shim for every service, so its memory and its start count.

mod bounds;
mod control;
mod keeper;
mod nest;
mod notify;
mod shim;
mod spawn;
mod tree;

use nest::Nest;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use service_shim::PROTOCOL_VERSION;
use service_shim::protocol::Hello;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

fn main() -> ExitCode {
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
    // A terminal's signals are not for us; EPERM says that the daemon has seen to it.
    let _ = nix::unistd::setsid();
    prctl::set_name(c"shim-template").map_err(|error| because("name itself", &error))?;
    limit_descriptors().map_err(|error| because("limit descriptors", &error))?;
    let nest = Nest::new().map_err(|error| because("look after shims", &error))?;
    let mut hello = serde_json::to_vec(&Hello { version: PROTOCOL_VERSION })?;
    hello.push(b'\n');
    daemon.write_all(&hello).map_err(|error| because("greet", &error))?;
    nest.tend(daemon)
}

/// The daemon may have more open than a service should begin with.
fn limit_descriptors() -> io::Result<()> {
    let Some(number) = std::env::args().nth(1) else { return Ok(()) };
    let number = number.parse().map_err(io::Error::other)?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, number, hard)?)
}

fn because(what: &str, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!("cannot {what}: {error}"))
}
