//! `service-shim`: keeps one run of one service. The daemon starts one of these as the template, with a socket as standard
//! input; the template becomes a shim for each parcel that it is sent, by forking: an `exec` for each would cost more
//! time than that and leave more memory behind.
//!
//! One thread and no runtime: there is one shim for every service, so its memory and its start count.

mod bounds;
mod control;
mod keeper;
mod notify;
mod shim;
mod spawn;
mod tree;

use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{ForkResult, fork};
use service_shim::protocol::Hello;
use service_shim::words::in_words;
use service_shim::{PROTOCOL_VERSION, Parcel};
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

/// Returns when the daemon has gone, and in every shim when it has done its work.
fn template() -> io::Result<()> {
    let mut daemon = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    daemon.peer_addr().map_err(|error| because("use standard input as a socket", &error))?;
    // A terminal's signals are not for us; EPERM says that the daemon has seen to it.
    let _ = nix::unistd::setsid();
    prctl::set_name(c"shim-template").map_err(|error| because("name itself", &error))?;
    take_defaults().map_err(|error| because("set what signals do", &error))?;
    let mut hello = serde_json::to_vec(&Hello { version: PROTOCOL_VERSION })?;
    hello.push(b'\n');
    daemon.write_all(&hello).map_err(|error| because("greet", &error))?;
    while let Some(parcel) = Parcel::receive(&daemon).map_err(|error| because("receive", &error))? {
        // SAFETY: this process has a single thread, so no lock is held by another one.
        #[expect(unsafe_code, reason = "a fork is unsafe in general")]
        let forked = unsafe { fork() };
        match forked {
            Ok(ForkResult::Parent { .. }) => {}
            Ok(ForkResult::Child) => {
                drop(daemon);
                prctl::set_name(c"service-shim").map_err(|error| because("name itself", &error))?;
                return shim::run(parcel);
            }
            Err(error) => {
                let message = format!("its keeper cannot be forked: {}", in_words(&error.into()));
                if let Err(error) = shim::refuse(parcel, message) {
                    eprintln!("service-shim: {error}");
                }
            }
        }
    }
    Ok(())
}

/// What every shim inherits: no signal is ignored, as `nohup` before the daemon would have it, for that would reach the
/// service. `SIGPIPE` stays as Rust has set it; it is given back its default by `Command`.
#[expect(unsafe_code, reason = "changing what a signal does is unsafe in general")]
fn take_defaults() -> nix::Result<()> {
    for number in Signal::iterator() {
        let action = match number {
            Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE => continue,
            // Nobody waits for a shim: what it has to say about its end it says itself.
            Signal::SIGCHLD => SigHandler::SigIgn,
            _ => SigHandler::SigDfl,
        };
        // SAFETY: no handler is installed, and this process has none whose replacement could break anything.
        unsafe { signal(number, action) }?;
    }
    Ok(())
}

fn because(what: &str, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!("cannot {what}: {error}"))
}
