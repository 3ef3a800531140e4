//! Follows a run with a living shim: over a connection or, without one, by the shim's record file.
//!
//! A connection can be lost or impossible: the socket file was removed, the connection was closed, or no descriptor is
//! free ([`DescriptorPermit`]). None of this means that the shim has ended; only the kernel knows. While the shim
//! lives, the daemon therefore tries to connect again. Meanwhile it reads the record file, and each request uses its
//! own connection.

use super::connection::{ShimConnection, try_send};
use super::launch_message::log_limits;
use super::shim_client::{
    Direct, FollowerRequest, MIN_VERSION_SHARED_OUTPUT, RunFollower, ShimHandle, Shims, new_handle,
    signal_shim,
};
use service_core::config::Service;
use service_host::descriptors::{DescriptorPermit, NoDescriptors, RAISE_LIMIT_HELP, is_short};
use service_host::report::Observation;
use service_shim::{Files, OrphanedOutput, Process, RecordStamp, RunRecord, ShimRequest};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// The delays before a reconnect to a living shim. The first is short, because the shim may be ending.
const RECONNECT_DELAYS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(200)];

/// The number of rounds after which a shim without files is requested again to recreate them.
const RECREATE_REQUEST_ROUNDS: u32 = 10;

/// A connection to a shim, and its descriptor.
#[derive(Debug)]
pub struct Reached {
    pub(super) connection: ShimConnection,
    pub(super) held: DescriptorPermit,
}

impl Reached {
    /// Keeps the connection of a shim that has answered, if a descriptor is free.
    pub fn from_connection(connection: ShimConnection) -> Option<Self> {
        DescriptorPermit::connection().ok().map(|held| Self { connection, held })
    }

    fn new(files: &Files) -> io::Result<Self> {
        let held = DescriptorPermit::connection().map_err(io::Error::other)?;
        Ok(Self { connection: ShimConnection::connect(files)?, held })
    }
}

impl Shims {
    /// Readopts a run with a living shim, over the connection that discovered it, if any.
    pub fn reattach(&self, definition: &Service, record: RunRecord, reached: Option<Reached>) -> ShimHandle {
        let (handle, mut requests) = new_handle(record.version);
        let direct = Arc::clone(&handle.direct);
        let follower = RunFollower {
            name: definition.name.clone(),
            run: record.run,
            log: log_limits(definition),
            shims: self.clone(),
        };
        tokio::spawn(async move {
            let shim = record.shim;
            follower.follow_run(shim, Some(record), reached, None, &mut requests, &direct).await;
        });
        handle
    }
}

impl RunFollower {
    /// Follows a living shim, connected or not, until it has ended.
    pub(super) async fn follow_run(
        &self,
        shim: Process,
        mut last: Option<RunRecord>,
        mut reached: Option<Reached>,
        mut orphaned_output: Option<OrphanedOutput>,
        requests: &mut UnboundedReceiver<FollowerRequest>,
        direct: &Direct,
    ) {
        loop {
            let connection = match reached.take() {
                Some(reached) => Some(reached),
                None if last.as_ref().is_some_and(RunRecord::is_end) => None,
                None => self.reach(shim, &mut last, requests).await,
            };
            let Some(Reached { mut connection, mut held }) = connection else { break };
            let lends = last.as_ref().is_some_and(|record| record.version >= MIN_VERSION_SHARED_OUTPUT);
            if orphaned_output.is_none() && lends && held.and_orphaned_output() {
                orphaned_output = self.borrow(&mut connection).await;
            }
            let (lines, writer) = connection.split();
            last = self.listen(lines, Arc::new(writer), last, requests, direct).await;
        }
        self.conclude(last, orphaned_output).await;
    }

    async fn borrow(&self, connection: &mut ShimConnection) -> Option<OrphanedOutput> {
        let lent = connection.borrow().await;
        let orphaned_output = lent
            .inspect_err(
                |error| tracing::warn!(service = %self.name, %error, "the shim does not share its output"),
            )
            .ok()?;
        self.observed(Observation::SharedBuffer(Arc::clone(&orphaned_output.shared_buffer)));
        Some(orphaned_output)
    }

    /// Connects to the shim while the shim lives. Returns `None` after the shim has ended.
    async fn reach(
        &self,
        shim: Process,
        last: &mut Option<RunRecord>,
        requests: &mut UnboundedReceiver<FollowerRequest>,
    ) -> Option<Reached> {
        let files = self.shims.paths.files(&self.name);
        let [mut pause, longest] = RECONNECT_DELAYS;
        let mut seen = None;
        let mut reported = None;
        let mut rounds = 0_u32;
        loop {
            let error = match Reached::new(&files) {
                Ok(reached) => {
                    if reported.is_some() {
                        self.observed(Observation::Unreachable(None));
                    }
                    return Some(reached);
                }
                Err(error) => error,
            };
            if !shim.may_be_alive() {
                return None;
            }
            if pause == longest {
                let no_room = error.get_ref().and_then(|error| error.downcast_ref::<NoDescriptors>());
                let way_out = no_room.map(|_| format!("; {RAISE_LIMIT_HELP}")).unwrap_or_default();
                let why = format!("its shim (pid {}) is not connected: {error}{way_out}", shim.pid);
                if reported.as_ref() != Some(&why) {
                    tracing::warn!(service = %self.name, %error, "cannot reach the running shim; trying again");
                    self.observed(Observation::Unreachable(Some(why.clone())));
                    reported = Some(why);
                }
                if no_room.is_none() && rounds.is_multiple_of(RECREATE_REQUEST_ROUNDS) {
                    super::shims_without_files::request_files(shim);
                }
                rounds += 1;
                self.read_along(&files, &mut seen, last);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Some(ask) = requests.recv() => match ask {
                    FollowerRequest::ShimRequest(order) => pass_on(&files, shim, order),
                    FollowerRequest::Withdraw(reply) => drop(reply.send(())),
                },
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// Reports changes of the shim's record. The end of the run is left to [`RunFollower::conclude`], after the shim
    /// has released everything.
    fn read_along(&self, files: &Files, seen: &mut Option<RecordStamp>, last: &mut Option<RunRecord>) {
        let now = files.record_stamp();
        if now.is_none() || now == *seen {
            return;
        }
        let Ok(Some(record)) = files.read_record() else { return };
        *seen = now;
        if record.run == self.run && !record.is_end() && last.as_ref() != Some(&record) {
            self.report_record(&record);
            *last = Some(record);
        }
    }
}

/// Sends a request to a shim over a new connection. If the connection fails, sends the shim a signal instead.
fn pass_on(files: &Files, shim: Process, order: ShimRequest) {
    let sent = ShimConnection::connect(files).and_then(|connection| try_send(connection.stream(), order));
    if let Err(error) = sent {
        if !is_short(&error) {
            tracing::debug!(%error, "cannot send a request to its shim; sending a signal");
        }
        signal_shim(shim, order);
    }
}
