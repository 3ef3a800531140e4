//! [`Reading`]: the logs of many services for one reader, first what is there, then, if it follows, what comes.
//!
//! A reader sets the pace: the next piece is read from the files when the last one was taken, so a slow reader costs
//! neither the daemon memory nor a service time. A follower sleeps until inotify tells of a change in the directory of
//! one of its logs; nothing is polled.

use crate::orchestrator::private_dir;
use crate::views;
use crate::world::Places;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use service_api::{Code, Envelope, Problem, view};
use service_core::Name;
use service_shim::{Follower, Line};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::vec::IntoIter;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;

/// So many lines are one piece, as long as there are old ones.
const PIECE: usize = 1_000;

/// Which lines somebody wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The services, and whether their output comes to us.
    pub(crate) services: Vec<(Name, bool)>,
    /// Of each the last so many.
    pub(crate) most: usize,
    /// None from before.
    pub(crate) since: Option<Timestamp>,
    /// Lines that managers told.
    pub(crate) told: Vec<view::LogLine>,
}

/// What one reader has before them.
pub(crate) struct Reading {
    old: IntoIter<view::LogLine>,
    follows: Option<Follows>,
}

struct Follows {
    logs: Vec<(Name, Follower)>,
    changes: Inotify,
    /// A second descriptor of `changes`, for the runtime.
    woken: AsyncFd<OwnedFd>,
}

/// All lines that are there, by time.
pub(crate) fn tail(places: &Places, wanted: &Wanted) -> io::Result<Vec<view::LogLine>> {
    let mut all = Vec::new();
    for (name, _) in &wanted.services {
        let lines = places.files(name).tail(wanted.most, wanted.since)?;
        all.extend(lines.into_iter().map(|line| (name, line)));
    }
    Ok(beside(merged(all), &wanted.told))
}

impl Reading {
    /// What is there.
    pub(crate) fn once(places: &Places, wanted: &Wanted) -> io::Result<Self> {
        Ok(Self { old: tail(places, wanted)?.into_iter(), follows: None })
    }

    /// What is there, and what will be.
    pub(crate) fn following(places: &Places, wanted: &Wanted) -> io::Result<Self> {
        let changes = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        #[expect(deprecated, reason = "it is unsound only for what does not own its descriptor")]
        let woken = AsyncFd::new(changes.as_fd().try_clone_to_owned()?)?;
        let (mut all, mut logs) = (Vec::new(), Vec::new());
        for (name, _) in wanted.services.iter().filter(|(_, is_ours)| *is_ours) {
            let files = places.files(name);
            // It may never have run; and what changes between this and the reading is told again.
            private_dir(files.directory())?;
            let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
            changes.add_watch(files.directory(), events)?;
            let (lines, follower) = files.follow(wanted.most, wanted.since)?;
            all.extend(lines.into_iter().map(|line| (name, line)));
            logs.push((name.clone(), follower));
        }
        let old = beside(merged(all), &wanted.told).into_iter();
        Ok(Self { old, follows: Some(Follows { logs, changes, woken }) })
    }

    /// Sends all to one reader, until they are gone or the daemon ends, which `end` tells.
    pub(crate) async fn send(mut self, reader: Sender<Vec<u8>>, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            let place = tokio::select! {
                place = reader.reserve() => place,
                () = &mut end => return,
            };
            let Ok(place) = place else { return };
            // Files and JSON take time, and the runtime has one thread.
            let read = tokio::task::spawn_blocking(move || (self.piece(), self));
            let Ok(((piece, more), same)) = read.await else { return };
            self = same;
            if !piece.is_empty() {
                place.send(piece);
            }
            if more {
                continue;
            }
            let Some(follows) = &self.follows else { return };
            tokio::select! {
                changed = follows.changed() => if changed.is_err() { return },
                () = reader.closed() => return,
                () = &mut end => return,
            }
        }
    }

    /// The next lines as JSON, and whether there may be more by now.
    fn piece(&mut self) -> (Vec<u8>, bool) {
        let old: Vec<_> = self.old.by_ref().take(PIECE).collect();
        match &mut self.follows {
            _ if !old.is_empty() => (json(old), true),
            None => (Vec::new(), false),
            Some(follows) => match follows.read() {
                Ok((lines, more)) => (json(lines), more),
                Err(error) => {
                    let problem = Problem::new(Code::Internal, format!("cannot read a log: {error}"));
                    self.follows = None;
                    (line(&Envelope::<()>::failure(problem)), false)
                }
            },
        }
    }
}

impl Follows {
    fn read(&mut self) -> io::Result<(Vec<view::LogLine>, bool)> {
        let (mut all, mut more) = (Vec::new(), false);
        for (name, follower) in &mut self.logs {
            let mut lines = Vec::new();
            more |= follower.read(&mut lines)?;
            all.extend(lines.into_iter().map(|line| (&*name, line)));
        }
        Ok((merged(all), more))
    }

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

/// What managers told among our own lines, by time. Those without time come first: nobody knows when they were written.
fn beside(mut lines: Vec<view::LogLine>, told: &[view::LogLine]) -> Vec<view::LogLine> {
    if !told.is_empty() {
        lines.extend_from_slice(told);
        lines.sort_by_cached_key(|line| line.time.parse::<Timestamp>().ok());
    }
    lines
}

/// By time; lines of one service keep their order, also where the clock was set back between them.
fn merged(lines: Vec<(&Name, Line)>) -> Vec<view::LogLine> {
    let mut latest: BTreeMap<&Name, Timestamp> = BTreeMap::new();
    let placed = lines.into_iter().map(|(name, line)| {
        let place = latest.entry(name).or_insert(line.time);
        *place = line.time.max(*place);
        (*place, name, line)
    });
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by_key(|(place, ..)| *place);
    placed.into_iter().map(|(_, name, line)| views::log_line(name, line)).collect()
}

fn json(lines: Vec<view::LogLine>) -> Vec<u8> {
    lines.into_iter().flat_map(|row| line(&Envelope::success(row))).collect()
}

fn line(envelope: &impl serde::Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(envelope).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_shim::cri::Stream;

    #[test]
    fn lines_of_one_service_keep_their_order_when_the_clock_is_set_back() {
        let [a, b] = ["a", "b"].map(|name| Name::new(name).unwrap());
        let line = |time: &str, text: &str| Line {
            time: time.parse().unwrap(),
            stream: Stream::Stdout,
            text: text.to_owned(),
        };
        let lines = vec![
            (&a, line("2026-01-02T00:00:00Z", "1")),
            (&a, line("2026-01-01T00:00:01Z", "2")),
            (&b, line("2026-01-01T00:00:00Z", "0")),
            (&b, line("2026-01-03T00:00:00Z", "3")),
        ];
        let merged: Vec<String> = merged(lines).into_iter().map(|line| line.line).collect();
        assert_eq!(merged, ["0", "1", "2", "3"]);
    }
}
