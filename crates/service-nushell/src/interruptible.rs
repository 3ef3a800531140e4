//! [`Worker`]: blocking work on a thread. A call abandons the work on ctrl-c or at a deadline.
//!
//! Nushell does not end a plugin's call on ctrl-c; the call itself has to return. The work therefore runs on a thread,
//! and the call reads one channel with both the items and the signal. Abandoned work ends when it sends its next item.

use crate::progress::StatusLine;
use nu_plugin::EngineInterface;
use nu_protocol::{HandlerGuard, ShellError, SignalAction};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// The maximum number of queued items. When it is reached, the work waits, so that a slow consumer uses bounded memory.
const MAX_QUEUED: usize = 256;

/// An event for the waiting call.
#[derive(Debug)]
pub enum WorkerEvent<T> {
    /// An item of the work.
    Item(T),
    /// The work has ended, or panicked.
    Finished,
    /// The user pressed ctrl-c.
    Interrupted,
    /// No event arrived within the limit.
    TimedOut,
}

/// Sends the items of the work. Dropping it, even by a panic, sends [`WorkerEvent::Finished`].
pub struct EventSender<T> {
    events: Sender<WorkerEvent<T>>,
    /// One entry per queued item.
    queued: SyncSender<()>,
}

/// The receiving end of work on a thread.
pub struct Worker<T> {
    events: Receiver<WorkerEvent<T>>,
    queued: Receiver<()>,
    _handler: HandlerGuard,
}

impl<T> EventSender<T> {
    /// Sends one item; `false` when the call has returned.
    pub fn send(&self, item: T) -> bool {
        self.queued.send(()).is_ok() && self.events.send(WorkerEvent::Item(item)).is_ok()
    }
}

impl<T> Drop for EventSender<T> {
    fn drop(&mut self) {
        let _ = self.events.send(WorkerEvent::Finished); // the call may have returned
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the work.
    pub fn spawn(
        engine: &EngineInterface,
        work: impl FnOnce(&EventSender<T>) + Send + 'static,
    ) -> Result<Self, ShellError> {
        // Only an interrupt ends the call, because Nushell also sends a reset before every prompt while a background
        // job waits here.
        Self::spawn_until(engine, &|action| action == SignalAction::Interrupt, work)
    }

    /// Starts the work of a stream that could outlive its pipeline. The work also ends at the next prompt, when the
    /// stream is not read any more.
    pub fn until_prompt(
        engine: &EngineInterface,
        work: impl FnOnce(&EventSender<T>) + Send + 'static,
    ) -> Result<Self, ShellError> {
        Self::spawn_until(engine, &|_| true, work)
    }

    fn spawn_until(
        engine: &EngineInterface,
        ends: &'static (impl Fn(SignalAction) -> bool + Sync),
        work: impl FnOnce(&EventSender<T>) + Send + 'static,
    ) -> Result<Self, ShellError> {
        let (events_sender, events) = channel();
        let (queue, queued) = sync_channel(MAX_QUEUED);
        let interrupt = events_sender.clone();
        let handler = engine.register_signal_handler(Box::new(move |action| {
            if ends(action) {
                let _ = interrupt.send(WorkerEvent::Interrupted); // the call may have returned
            }
        }))?;
        let sender = EventSender { events: events_sender, queued: queue };
        std::thread::spawn(move || work(&sender));
        Ok(Self { events, queued, _handler: handler })
    }

    /// Waits for the next event and shows the progress meanwhile. After a timeout the progress remains on the terminal,
    /// because the wait usually continues.
    pub fn receive_with_progress(&self, progress: &mut StatusLine, due: Option<Instant>) -> WorkerEvent<T> {
        loop {
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            let event = self.receive(progress.pause().into_iter().chain(left).min());
            if !matches!(event, WorkerEvent::TimedOut) {
                progress.clear();
                return event;
            }
            if left.is_some_and(|left| left.is_zero()) {
                return event;
            }
            progress.tick();
        }
    }

    /// Waits for the next event, without a limit if there is none.
    pub fn receive(&self, limit: Option<Duration>) -> WorkerEvent<T> {
        let event = match limit {
            Some(limit) => self.events.recv_timeout(limit),
            None => self.events.recv().map_err(RecvTimeoutError::from),
        };
        if let Ok(WorkerEvent::Item(_)) = event {
            let _ = self.queued.try_recv(); // the entry of the item
        }
        event.unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => WorkerEvent::TimedOut,
            RecvTimeoutError::Disconnected => WorkerEvent::Finished,
        })
    }
}
