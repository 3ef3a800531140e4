//! The floor: what the machine itself takes for the bare work. A process of its own that spawns, watches with pidfds and
//! `poll`, copies a pipe to a file, starts again what dies; it keeps no promise beside.

use super::Kept;
use crate::process;
use crate::stage::{Contestant, Part, Stage};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// As the table calls it.
pub(crate) const FLOOR: &str = "floor";

pub(crate) struct Floor;

impl Contestant for Floor {
    fn name(&self) -> &'static str {
        FLOOR
    }

    fn version(&self) -> Option<String> {
        Some("spawn, pidfd, poll, pipe to file".to_owned())
    }

    fn raise(&self, parts: &[Part], directory: &Path) -> Option<Box<dyn Stage>> {
        if parts.iter().any(|part| part.check.is_some()) {
            return None;
        }
        let plan = directory.join("parts.json");
        std::fs::write(&plan, serde_json::to_vec(parts).ok()?).ok()?;
        let mut process = Command::new(std::env::current_exe().ok()?)
            .args(["floor", plan.to_str()?])
            .env("BENCH_STAGE", directory.join("floor"))
            .stdin(Stdio::piped())
            .spawn()
            .ok()?;
        let input = process.stdin.take();
        Some(Box::new(Orders { input, directory: directory.to_owned(), process: Kept(process) }))
    }
}

struct Orders {
    input: Option<ChildStdin>,
    directory: PathBuf,
    process: Kept,
}

impl Orders {
    fn give(&mut self, order: &[u8]) {
        let input = self.input.as_mut().expect("orders are given until the end");
        input.write_all(order).expect("the floor reads");
    }
}

impl Stage for Orders {
    fn start(&mut self) {
        self.give(b"start\n");
    }

    fn stop(&mut self) {
        self.give(b"stop\n");
    }

    fn log(&self, part: &Part) -> Option<PathBuf> {
        Some(log(&self.directory, part))
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.stop();
        self.input = None;
        service_tests::eventually("the floor is down", || self.process.0.try_wait().ok().flatten());
    }
}

fn log(directory: &Path, part: &Part) -> PathBuf {
    directory.join(&part.name).with_extension("log")
}

/// One service that the floor runs.
struct Running {
    index: usize,
    child: Child,
    ended: OwnedFd,
    output: Option<(ChildStdout, File)>,
}

/// What `service-bench floor PARTS` does: follows the orders on standard input until it ends.
pub(crate) fn play(plan: &Path) -> io::Result<()> {
    let directory = plan.parent().unwrap_or(plan);
    let parts: Vec<Part> = serde_json::from_slice(&std::fs::read(plan)?)?;
    let notified = directory.join("notified");
    let words = UnixDatagram::bind(&notified)?;
    words.set_nonblocking(true)?;
    let mut orders = BufReader::new(io::stdin());
    let mut running: Vec<Running> = Vec::new();
    let mut ready = vec![false; parts.len()];
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
        if woken[0] && take(&words, &mut ready) {
            spawn(&parts, &ready, directory, &notified, &mut running)?;
        }
        if woken[1] && !ending {
            let mut order = String::new();
            match orders.read_line(&mut order)? {
                0 => ending = true,
                _ if order.trim() == "start" => {
                    up = true;
                    spawn(&parts, &ready, directory, &notified, &mut running)?;
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
            if up && !parts[one.index].ends {
                running.push(start(one.index, &parts[one.index], directory, &notified)?);
            }
        }
    }
    Ok(())
}

/// Reads who is ready: with services that need each other, they come up in the order of their indices, layer by layer.
fn take(words: &UnixDatagram, ready: &mut [bool]) -> bool {
    let mut any = false;
    while words.recv(&mut [0; 16]).is_ok() {
        if let Some(next) = ready.iter_mut().find(|ready| !**ready) {
            *next = true;
            any = true;
        }
    }
    any
}

/// Starts what is not started and has what it needs.
fn spawn(
    parts: &[Part],
    ready: &[bool],
    directory: &Path,
    notified: &Path,
    running: &mut Vec<Running>,
) -> io::Result<()> {
    for (index, part) in parts.iter().enumerate().skip(running.len()) {
        if !part.needs.iter().all(|need| ready[*need]) {
            break;
        }
        running.push(start(index, part, directory, notified)?);
    }
    Ok(())
}

fn start(index: usize, part: &Part, directory: &Path, notified: &Path) -> io::Result<Running> {
    let mut child = Command::new(&part.command[0])
        .args(&part.command[1..])
        .env("NOTIFY_SOCKET", notified)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let ended = process::open(child.id()).ok_or(io::ErrorKind::NotFound)?;
    let file = File::create(log(directory, part))?;
    let output = child.stdout.take().map(|pipe| (pipe, file));
    Ok(Running { index, child, ended, output })
}

fn copy(pipe: &mut ChildStdout, file: &mut File) -> io::Result<usize> {
    let mut buffer = vec![0; 65536];
    let length = pipe.read(&mut buffer)?;
    file.write_all(&buffer[..length])?;
    Ok(length)
}
