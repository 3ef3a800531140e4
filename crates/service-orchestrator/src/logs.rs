//! [`Reading`]: the logs of many services for one reader, first what is there, then, if it follows, what comes.
//!
//! A reader sets the pace: the next piece is read from the files when the last one was taken, so a slow reader costs
//! neither the daemon memory nor a service time, however long its logs are. A follower sleeps until inotify tells of a
//! change in the directory of one of its logs; nothing is polled.

mod ahead;

use crate::orchestrator::private_dir;
use crate::world::Places;
use ahead::{Ahead, Source};
use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use service_api::{Code, Envelope, Problem, view};
use service_core::Name;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;

/// A piece of an answer is a little more than so many bytes.
const PIECE: usize = 64 * 1024;

/// Which lines somebody wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The services, and whether their output comes to us.
    pub(crate) services: Vec<(Name, bool)>,
    /// Of each the last so many.
    pub(crate) most: usize,
    /// None from before.
    pub(crate) since: Option<Timestamp>,
    /// What managers told, by service.
    pub(crate) told: Vec<(Name, Vec<view::LogLine>)>,
}

/// How a reader wants lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// All in one envelope.
    List,
    /// One envelope a line.
    Lines,
}

/// What one reader has before them.
pub(crate) struct Reading {
    logs: Ahead,
    form: Form,
    told: Told,
    follows: Option<Follows>,
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Some,
    /// All that was there at first.
    Past,
}

struct Follows {
    changes: Inotify,
    /// A second descriptor of `changes`, for the runtime.
    woken: AsyncFd<OwnedFd>,
}

impl Reading {
    /// What is there.
    pub(crate) fn once(places: &Places, wanted: Wanted, form: Form) -> io::Result<Self> {
        let logs = wanted.services.iter().map(|(name, _)| {
            let tail = places.files(name).tail(wanted.most, wanted.since)?;
            Ok((name.clone(), Source::Tail(tail)))
        });
        let logs = logs.chain(managers(wanted.told)).collect::<io::Result<_>>()?;
        Ok(Self { logs, form, told: Told::Nothing, follows: None })
    }

    /// What is there, and what will be.
    pub(crate) fn following(places: &Places, wanted: Wanted) -> io::Result<Self> {
        let changes = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        #[expect(deprecated, reason = "it is unsound only for what does not own its descriptor")]
        let woken = AsyncFd::new(changes.as_fd().try_clone_to_owned()?)?;
        let ours = wanted.services.iter().filter(|(_, is_ours)| *is_ours);
        let logs = ours.map(|(name, _)| {
            let files = places.files(name);
            // It may never have run; and what changes between this and the reading is told again.
            private_dir(files.directory())?;
            let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
            changes.add_watch(files.directory(), events)?;
            Ok((name.clone(), Source::Follower(files.follow(wanted.most, wanted.since)?)))
        });
        let logs = logs.chain(managers(wanted.told)).collect::<io::Result<_>>()?;
        Ok(Self { logs, form: Form::Lines, told: Told::Nothing, follows: Some(Follows { changes, woken }) })
    }

    /// Sends all to one reader, until they are gone or the daemon ends, which `end` tells.
    pub(crate) async fn send(mut self, reader: Sender<io::Result<Vec<u8>>>, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            let place = tokio::select! {
                place = reader.reserve() => place,
                () = &mut end => return,
            };
            let Ok(place) = place else { return };
            // Files and JSON take time, and the runtime has one thread.
            let read = tokio::task::spawn_blocking(move || (self.piece(), self));
            let Ok((piece, same)) = read.await else { return };
            self = same;
            let (piece, more) = match piece {
                Ok((piece, more)) => (Ok(piece), more),
                Err(error) => (self.failure(error), false),
            };
            if !piece.as_ref().is_ok_and(Vec::is_empty) {
                place.send(piece);
            }
            if more {
                continue;
            }
            let Some(follows) = self.follows.as_ref().filter(|_| self.told == Told::Past) else { return };
            tokio::select! {
                changed = follows.changed() => if changed.is_err() { return },
                () = reader.closed() => return,
                () = &mut end => return,
            }
        }
    }

    /// The next lines as JSON, and whether there may be more by now.
    fn piece(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let mut piece = Vec::new();
        if self.told == Told::Past {
            let more = self.logs.come(|line| write_line(&mut piece, line))?;
            return Ok((piece, more));
        }
        while piece.len() < PIECE {
            let next = self.logs.next()?;
            let opening = match (self.form, self.told) {
                (Form::Lines, _) => "",
                (Form::List, Told::Nothing) => "{\"success\":true,\"data\":[",
                (Form::List, _) => ",",
            };
            match next {
                Some(line) => {
                    piece.extend_from_slice(opening.as_bytes());
                    match self.form {
                        Form::Lines => write_line(&mut piece, line),
                        Form::List => write(&mut piece, &line),
                    }
                    self.told = Told::Some;
                }
                None => {
                    if self.form == Form::List {
                        let opening = if self.told == Told::Nothing { opening } else { "" };
                        piece.extend_from_slice(opening.as_bytes());
                        piece.extend_from_slice(b"],\"error\":null}");
                    }
                    self.told = Told::Past;
                    return Ok((piece, self.follows.is_some()));
                }
            }
        }
        Ok((piece, true))
    }

    /// The last word of an answer that cannot be brought to its end. A list that has begun can only be broken off.
    fn failure(&mut self, error: io::Error) -> io::Result<Vec<u8>> {
        self.follows = None;
        match self.form {
            Form::List => Err(error),
            Form::Lines => {
                let problem = Problem::new(Code::Internal, format!("cannot read a log: {error}"));
                let mut line = Vec::new();
                write(&mut line, &Envelope::<()>::failure(problem));
                line.push(b'\n');
                Ok(line)
            }
        }
    }
}

impl Follows {
    /// Waits until something in the directory of a log is different.
    async fn changed(&self) -> io::Result<()> {
        let mut woken = self.woken.readable().await?;
        loop {
            match self.changes.read_events() {
                Ok(_) => {}
                Err(Errno::EAGAIN) => break woken.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// They tell what there is, and not what comes.
fn managers(told: Vec<(Name, Vec<view::LogLine>)>) -> impl Iterator<Item = io::Result<(Name, Source)>> {
    told.into_iter().map(|(name, lines)| Ok((name, Source::Told(lines))))
}

fn write_line(piece: &mut Vec<u8>, line: view::LogLine) {
    write(piece, &Envelope::success(line));
    piece.push(b'\n');
}

fn write(piece: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Text and numbers always are JSON, and memory takes them.
    let _ = serde_json::to_writer(piece, value);
}
