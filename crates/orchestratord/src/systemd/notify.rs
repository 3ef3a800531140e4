//! `sd_notify(3)`: readiness, a status sentence about the services, the watchdog, and the end of the daemon.
//!
//! The watchdog is notified only after the owner task has replied, so that systemd restarts a daemon that hangs;
//! services keep running. An error that a new daemon would have too, such as a full disk, does not stop the
//! notifications.

use service_core::service::State;
use service_host::clock;
use service_http::{ApiState, ping_owner};
use service_orchestrator::snapshot::FleetSnapshot;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The variables that systemd sets only for the main process of a unit.
const UNIT_VARIABLES: [&str; 9] = [
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

/// The variables that systemd has set in the environment of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct SystemdEnv {
    notify: Option<OsString>,
    watchdog: Option<Duration>,
}

impl SystemdEnv {
    /// Reads the variables and removes them from the environment, so that no service inherits them. Must be called
    /// before any thread is started.
    #[expect(unsafe_code, reason = "no other thread reads the environment yet")]
    pub(crate) fn read_and_remove() -> Self {
        let text = |name| env::var(name).ok();
        let for_us = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = text("WATCHDOG_USEC").filter(|_| for_us).and_then(|usec| usec.parse().ok());
        let read = Self {
            notify: env::var_os("NOTIFY_SOCKET"),
            watchdog: watchdog.filter(|usec| *usec > 0).map(Duration::from_micros),
        };
        for name in UNIT_VARIABLES {
            // SAFETY: this is the only thread.
            unsafe { env::remove_var(name) };
        }
        read
    }
}

/// The socket of systemd, if the daemon runs as a unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notifier {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    pub(crate) fn new(systemd: &SystemdEnv) -> Self {
        let socket = systemd.notify.as_deref().map(open_socket).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot notify systemd");
            None
        });
        Self { socket: socket.map(Arc::new), watchdog: systemd.watchdog }
    }

    /// Reports that the socket listens and the state of the former daemon is recovered.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports that the configuration is being read again, until [`Notifier::ready`].
    pub(crate) fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic().as_micros()));
    }

    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=ending");
    }

    pub(crate) fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Sends a datagram without waiting.
    fn send(&self, message: &str) {
        let Some((socket, address)) = self.socket.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%error, message, "cannot notify systemd");
        }
    }
}

/// Parses a path, or an abstract name with a leading `@`.
fn open_socket(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            return Err(io::Error::other(format!("`{}` is not an address of a Unix socket", name.display())));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Sends the status sentence on each change, and the watchdog notifications. Never completes.
pub(crate) async fn report_status(notifier: Notifier, api: Arc<ApiState>) {
    let mut boards = api.orchestrator.snapshots();
    // The interval is half the timeout, as sd_watchdog_enabled(3) recommends.
    let interval = notifier.watchdog.map(|watchdog| watchdog / 2);
    let mut ticks = interval.map(tokio::time::interval);
    let mut sent = String::new();
    loop {
        let text = describe(&boards.borrow_and_update());
        if sent != text {
            notifier.status(&text);
            sent = text;
        }
        let tick = async {
            match &mut ticks {
                Some(ticks) => drop(ticks.tick().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = boards.changed() => if changed.is_err() { return },
            () = tick => match ping_owner(&api).await {
                Ok(_) => notifier.send("WATCHDOG=1"),
                Err(error) => tracing::error!(%error, "the watchdog is not notified"),
            },
        }
    }
}

/// The status sentence for `systemctl status`, such as `12 of 14 services up, 1 failed`.
fn describe(fleet: &FleetSnapshot) -> String {
    let count =
        |of: fn(&State) -> bool| fleet.entries.iter().filter(|entry| of(&entry.snapshot.state)).count();
    let (up, all) = (count(State::is_active), fleet.entries.len());
    let failed = count(|state| matches!(state, State::Failed { .. } | State::Backoff { .. }));
    let services = if all == 1 { "service" } else { "services" };
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{up} of {all} {services} up{failed}")
}
