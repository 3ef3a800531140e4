//! `sd_notify(3)`: that the daemon is ready, how its services are in a sentence, that it still does its work, that it ends.
//!
//! The watchdog is fed after the owner of the fleet has answered, and not otherwise: a daemon that hangs is ended and started
//! again by systemd, which disturbs no service. What a new daemon could not do either, such as writing on a full disk, is no
//! reason for that.

use crate::board::Board;
use crate::daemon::Shared;
use crate::host::clock;
use crate::selfcheck;
use service_core::service::State;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// What systemd puts into the environment of a unit's own process, and of nobody else's.
const OWN: [&str; 9] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
];

/// What systemd told this process by its environment.
#[derive(Debug, Clone, Default)]
pub struct Told {
    notify: Option<OsString>,
    watchdog: Option<Duration>,
}

impl Told {
    /// Takes it out of the environment, so that no service believes that it was meant. To be called before any thread is
    /// started.
    #[expect(unsafe_code, reason = "nobody else reads the environment yet")]
    pub fn take() -> Self {
        let text = |name| env::var(name).ok();
        let for_us = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = text("WATCHDOG_USEC").filter(|_| for_us).and_then(|usec| usec.parse().ok());
        let told = Self {
            notify: env::var_os("NOTIFY_SOCKET"),
            watchdog: watchdog.filter(|usec| *usec > 0).map(Duration::from_micros),
        };
        for name in OWN {
            // SAFETY: this is the only thread.
            unsafe { env::remove_var(name) };
        }
        told
    }
}

/// Tells systemd; where there is none, nobody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notifier {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    pub(crate) fn new(told: &Told) -> Self {
        let socket = told.notify.as_deref().map(open).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot tell systemd anything");
            None
        });
        Self { socket: socket.map(Arc::new), watchdog: told.watchdog }
    }

    /// The socket listens, and what a former daemon left is taken up.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// What is read once is read again, until [`Notifier::ready`].
    pub(crate) fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic().as_micros()));
    }

    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=ending");
    }

    pub(crate) fn status(&self, text: &str) {
        self.tell(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Every message is a datagram. Systemd, which reads them all the time, is not waited for.
    fn tell(&self, message: &str) {
        let Some((socket, address)) = self.socket.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%error, message, "cannot tell systemd");
        }
    }
}

/// A path, or an abstract name that is written with `@`.
fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::other(format!("`{}` is no address of a Unix socket", name.display()))),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Tells how the services are whenever that changes, and that the daemon does its work, for as long as it is polled.
pub(crate) async fn report(notifier: Notifier, shared: Arc<Shared>) {
    let mut boards = shared.orchestrator.boards();
    // Half the time, as sd_watchdog_enabled(3) recommends.
    let interval = notifier.watchdog.map(|watchdog| watchdog / 2);
    let mut feeds = interval.map(tokio::time::interval);
    let mut told = String::new();
    loop {
        let text = sentence(&boards.borrow_and_update());
        if told != text {
            notifier.status(&text);
            told = text;
        }
        let feed = async {
            match &mut feeds {
                Some(feeds) => drop(feeds.tick().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = boards.changed() => if changed.is_err() { return },
            () = feed => match selfcheck::owner_answers(&shared).await {
                Ok(_) => notifier.tell("WATCHDOG=1"),
                Err(error) => tracing::error!(error, "not feeding the watchdog"),
            },
        }
    }
}

/// For `systemctl status`: `12 of 14 services up, 1 failed`.
fn sentence(board: &Board) -> String {
    let count =
        |of: fn(&State) -> bool| board.entries.iter().filter(|entry| of(&entry.snapshot.state)).count();
    let (up, all) = (count(State::is_going), board.entries.len());
    let failed = count(|state| matches!(state, State::Failed { .. } | State::Backoff { .. }));
    let services = if all == 1 { "service" } else { "services" };
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{up} of {all} {services} up{failed}")
}
