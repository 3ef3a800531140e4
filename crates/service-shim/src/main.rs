//! `service-shim`: supervises one run of one service.
//!
//! The daemon starts one `service-shim` as the zygote, with a socket as standard input. The zygote forks a shim for
//! each [`LaunchFds`](service_shim::LaunchFds) that it receives; executing the program for each shim would take longer
//! and use more memory. The argument of the program is the descriptor limit of services.
//!
//! The program has one thread and no async runtime: each service has a shim, so memory and start time count.

mod control;
mod notify;
mod process_tree;
mod resource_limits;
mod shim;
mod spawn;
mod supervisor;
mod zygote;

use nix::sys::prctl;
use nix::unistd::dup2_stdin;
use service_shim::PROTOCOL_VERSION;
use service_shim::error_text::with_context;
use service_shim::protocol::Hello;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use zygote::Zygote;

fn main() -> ExitCode {
    service_shim::close_fds::close_all();
    match run_zygote() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("service-shim: {error}");
            ExitCode::from(2)
        }
    }
}

/// In the zygote, returns when the daemon and every shim have exited. In a shim, returns when its run is over.
fn run_zygote() -> io::Result<()> {
    let mut daemon = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    daemon.peer_addr().map_err(|error| with_context("use standard input as a socket", &error))?;
    // A waiting shim must not hold the zygote's end of the socket: the daemon would send launches to a dead zygote.
    let null = File::open("/dev/null").and_then(|null| Ok(dup2_stdin(&null)?));
    null.map_err(|error| with_context("replace standard input", &error))?;
    // Signals of a terminal must not reach the zygote. EPERM means that the daemon has called `setsid` already.
    let _ = nix::unistd::setsid();
    prctl::set_name(c"shim-template").map_err(|error| with_context("set its process name", &error))?;
    let descriptors = std::env::args().nth(1).map(|number| number.parse()).transpose();
    let descriptors = descriptors.map_err(|error| with_context("read the limit of descriptors", &error))?;
    let zygote = Zygote::new(descriptors).map_err(|error| with_context("become a subreaper", &error))?;
    // `memchr` detects the features of the processor here, once and not in each shim: in a virtual machine this takes
    // longer than a fork.
    let _ = memchr::memchr(b'\n', b"once");
    let mut hello = serde_json::to_vec(&Hello { version: PROTOCOL_VERSION })?;
    hello.push(b'\n');
    match daemon.write_all(&hello) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()), // the daemon exited before it needed a shim
        greeted => greeted
            .map_err(|error| with_context("send its version", &error))
            .and_then(|()| zygote.run(daemon)),
    }
}
