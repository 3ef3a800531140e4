//! [`Worker`]: blocking work that a ctrl-c or a deadline can leave behind.
//!
//! Nushell does not end a plugin's call on ctrl-c; the call itself has to return. So the work runs on a thread, and
//! the call listens to one channel on which both the work and the signal speak. Work left behind notices at its next
//! word that nobody listens, and ends.

use crate::progress::Progress;
use nu_plugin::EngineInterface;
use nu_protocol::{HandlerGuard, ShellError, SignalAction};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// So many words may be unheard; then the work waits, so that a slow listener fills no memory.
const UNHEARD: usize = 256;

/// What the one who waits hears.
#[derive(Debug)]
pub(crate) enum Heard<T> {
    /// The work has something.
    Said(T),
    /// The work is done, or broke.
    Over,
    /// The user pressed ctrl-c.
    Interrupted,
    /// Nothing came in time.
    Late,
}

/// The work's way to speak. When it is dropped, even by a panic, the listener hears that it is over.
pub(crate) struct Mouth<T> {
    words: Sender<Heard<T>>,
    /// As many as there are unheard words.
    unheard: SyncSender<()>,
}

/// The waiting side of work on a thread.
pub(crate) struct Worker<T> {
    ear: Receiver<Heard<T>>,
    unheard: Receiver<()>,
    _handler: HandlerGuard,
}

impl<T> Mouth<T> {
    /// Hands over one word; `false` when nobody listens any more.
    pub(crate) fn say(&self, word: T) -> bool {
        self.unheard.send(()).is_ok() && self.words.send(Heard::Said(word)).is_ok()
    }
}

impl<T> Drop for Mouth<T> {
    fn drop(&mut self) {
        let _ = self.words.send(Heard::Over); // the listener may be gone
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the work.
    pub(crate) fn spawn(
        engine: &EngineInterface,
        work: impl FnOnce(&Mouth<T>) + Send + 'static,
    ) -> Result<Self, ShellError> {
        // Only an interrupt: nu sends a reset before every line of its prompt, also while a background job waits here.
        Self::heeding(engine, &|action| action == SignalAction::Interrupt, work)
    }

    /// The same for a stream that would outlive its pipeline: when its shell is back at the prompt, nobody reads it any
    /// more.
    pub(crate) fn until_prompt(
        engine: &EngineInterface,
        work: impl FnOnce(&Mouth<T>) + Send + 'static,
    ) -> Result<Self, ShellError> {
        Self::heeding(engine, &|_| true, work)
    }

    fn heeding(
        engine: &EngineInterface,
        ends: &'static (impl Fn(SignalAction) -> bool + Sync),
        work: impl FnOnce(&Mouth<T>) + Send + 'static,
    ) -> Result<Self, ShellError> {
        let (words, ear) = channel();
        let (say, unheard) = sync_channel(UNHEARD);
        let interrupt = words.clone();
        let handler = engine.register_signal_handler(Box::new(move |action| {
            if ends(action) {
                let _ = interrupt.send(Heard::Interrupted); // the listener may be gone
            }
        }))?;
        let mouth = Mouth { words, unheard: say };
        std::thread::spawn(move || work(&mouth));
        Ok(Self { ear, unheard, _handler: handler })
    }

    /// Waits for the next word and shows, meanwhile, what is waited for. When it is late, that stays on the terminal: most
    /// often the wait goes on.
    pub(crate) fn hear_with(&self, progress: &mut Progress, due: Option<Instant>) -> Heard<T> {
        loop {
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            let heard = self.hear(progress.pause().into_iter().chain(left).min());
            if !matches!(heard, Heard::Late) {
                progress.clear();
                return heard;
            }
            if left.is_some_and(|left| left.is_zero()) {
                return heard;
            }
            progress.tick();
        }
    }

    /// Waits for the next word, for as long as it takes when there is no limit.
    pub(crate) fn hear(&self, limit: Option<Duration>) -> Heard<T> {
        let heard = match limit {
            Some(limit) => self.ear.recv_timeout(limit),
            None => self.ear.recv().map_err(RecvTimeoutError::from),
        };
        if let Ok(Heard::Said(_)) = heard {
            let _ = self.unheard.try_recv(); // said with it
        }
        heard.unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Heard::Late,
            RecvTimeoutError::Disconnected => Heard::Over,
        })
    }
}
