//! The baseline: the minimum cost of the work. A separate process spawns the services, watches them with pidfds and
//! `poll`, and restarts dead services. It guarantees nothing else. The baseline creates no file for a service without
//! output, and copies the output of other services from a pipe to a file.

use crate::harness::{Instance, Place, ServiceSpec, System, log_in};
use crate::process;
use crate::systems::program::ChildGuard;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The name in the table.
pub(crate) const BASELINE: &str = "baseline";

pub(crate) struct Baseline;

impl System for Baseline {
    fn name(&self) -> &'static str {
        BASELINE
    }

    fn version(&self) -> Option<String> {
        Some("spawn, pidfd, poll".to_owned())
    }

    fn set_up(&self, services: &[ServiceSpec], place: &Place) -> Option<Box<dyn Instance>> {
        let directory = &place.directory;
        if services.iter().any(|service| service.check.is_some()) {
            return None;
        }
        let plan = directory.join("services.json");
        std::fs::write(&plan, serde_json::to_vec(services).ok()?).ok()?;
        let mut process = Command::new(std::env::current_exe().ok()?)
            .args(["baseline", plan.to_str()?])
            .env("BENCH_INSTANCE", directory.join("baseline"))
            .stdin(Stdio::piped())
            .spawn()
            .ok()?;
        let input = process.stdin.take();
        Some(Box::new(Orders { input, directory: directory.to_owned(), process: ChildGuard(process) }))
    }
}

struct Orders {
    input: Option<ChildStdin>,
    directory: PathBuf,
    process: ChildGuard,
}

impl Orders {
    fn give(&mut self, order: &[u8]) {
        let input = self.input.as_mut().expect("orders are given until the end");
        input.write_all(order).expect("the baseline reads");
    }
}

impl Instance for Orders {
    fn start(&mut self) {
        self.give(b"start\n");
    }

    fn stop(&mut self) {
        self.give(b"stop\n");
    }

    fn log(&self, service: &ServiceSpec) -> Option<PathBuf> {
        Some(log_in(&self.directory, service))
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.stop();
        self.input = None;
        service_tests::eventually("the baseline is down", || self.process.0.try_wait().ok().flatten());
    }
}

/// One service that the baseline runs.
struct Running {
    index: usize,
    child: Child,
    ended: OwnedFd,
    output: Option<(ChildStdout, File)>,
}

/// `service-bench baseline SERVICES`: executes the commands on standard input until its end.
pub(crate) fn run(plan: &Path) -> io::Result<()> {
    let directory = plan.parent().unwrap_or(plan);
    let services: Vec<ServiceSpec> = serde_json::from_slice(&std::fs::read(plan)?)?;
    let notified = directory.join("notified");
    let words = UnixDatagram::bind(&notified)?;
    words.set_nonblocking(true)?;
    let mut orders = BufReader::new(io::stdin());
    let mut running: Vec<Running> = Vec::new();
    let (mut ready, mut begun) = (vec![false; services.len()], vec![false; services.len()]);
    let (mut up, mut ending) = (false, false);
    while !(ending && running.is_empty()) {
        let mut fds = vec![PollFd::new(words.as_fd(), PollFlags::POLLIN)];
        let stdin = io::stdin();
        fds.push(PollFd::new(stdin.as_fd(), if ending { PollFlags::empty() } else { PollFlags::POLLIN }));
        for one in &running {
            fds.push(PollFd::new(one.ended.as_fd(), PollFlags::POLLIN));
            if let Some((pipe, _)) = &one.output {
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
        }
        poll(&mut fds, PollTimeout::NONE)?;
        let known = running.len();
        let woken: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        drop(fds);
        if woken[0] && receive_ready(&words, &mut ready) {
            spawn(&services, &ready, &mut begun, directory, &notified, &mut running)?;
        }
        if woken[1] && !ending {
            let mut order = String::new();
            match orders.read_line(&mut order)? {
                0 => ending = true,
                _ if order.trim() == "start" => {
                    up = true;
                    spawn(&services, &ready, &mut begun, directory, &notified, &mut running)?;
                }
                _ => {
                    up = false;
                    for one in &running {
                        let _ = kill(Pid::from_raw(one.child.id().cast_signed()), Signal::SIGTERM);
                    }
                }
            }
            continue;
        }
        let mut at = 2;
        let mut gone = Vec::new();
        for (place, one) in running.iter_mut().take(known).enumerate() {
            let ended = woken[at];
            at += 1;
            if let Some((pipe, file)) = &mut one.output {
                if woken[at] && copy(pipe, file)? == 0 {
                    one.output = None;
                }
                at += 1;
            }
            if ended && (one.output.is_none() || !up) {
                gone.push(place);
            }
        }
        for place in gone.into_iter().rev() {
            let mut one = running.swap_remove(place);
            one.child.wait()?;
            if up && services[one.index].output.is_none() {
                running.push(start(one.index, &services[one.index], directory, &notified)?);
            }
        }
    }
    Ok(())
}

/// Reads the ready reports, each with the slot of its service, which is its index.
fn receive_ready(words: &UnixDatagram, ready: &mut [bool]) -> bool {
    let mut any = false;
    let mut report = [0; 64];
    while let Ok(length) = words.recv(&mut report) {
        let text = std::str::from_utf8(&report[..length]).unwrap_or_default();
        let slot = text.split_once("X_SLOT=").and_then(|(_, slot)| slot.parse::<usize>().ok());
        if let Some(ready) = slot.and_then(|slot| ready.get_mut(slot)) {
            *ready = true;
            any = true;
        }
    }
    any
}

/// Starts the services whose dependencies are ready.
fn spawn(
    services: &[ServiceSpec],
    ready: &[bool],
    begun: &mut [bool],
    directory: &Path,
    notified: &Path,
    running: &mut Vec<Running>,
) -> io::Result<()> {
    for (index, service) in services.iter().enumerate() {
        if !begun[index] && service.needs.iter().all(|need| ready[*need]) {
            begun[index] = true;
            running.push(start(index, service, directory, notified)?);
        }
    }
    Ok(())
}

fn start(index: usize, service: &ServiceSpec, directory: &Path, notified: &Path) -> io::Result<Running> {
    let mut command = Command::new(&service.command[0]);
    command.args(&service.command[1..]).env("NOTIFY_SOCKET", notified).stdin(Stdio::null());
    let mut child =
        command.stdout(if service.output.is_some() { Stdio::piped() } else { Stdio::null() }).spawn()?;
    let ended = process::open(child.id()).ok_or(io::ErrorKind::NotFound)?;
    let output = match child.stdout.take() {
        Some(pipe) => Some((pipe, File::create(log_in(directory, service))?)),
        None => None,
    };
    Ok(Running { index, child, ended, output })
}

fn copy(pipe: &mut ChildStdout, file: &mut File) -> io::Result<usize> {
    let mut buffer = vec![0; 65536];
    let length = pipe.read(&mut buffer)?;
    file.write_all(&buffer[..length])?;
    Ok(length)
}
