//! [`Store`]: `state.json`, what must outlive the daemon: goals, and where each service was.
//!
//! Replaced in one step, never changed in place. A change of goals, and a new run, whose record takes the place of the last
//! one's, are written before anything is done about them; other changes are gathered for a moment, because what the
//! shims leave behind tells the same. Environments and other secrets are not in it.
//!
//! While it cannot be written (a full disk, one that became read-only) the same goes to a refuge beside the daemon's
//! socket, which is in memory. Of the two files the one that was written later is believed.

use crate::clock;
use crate::orchestrator::private_dir;
use crate::world::Places;
use serde::{Deserialize, Serialize};
use service_core::fleet::Fleet;
use service_core::service::Memory;
use service_core::{Moment, Name, Snapshot};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Format of the file.
const VERSION: u32 = 1;
/// How long other changes are gathered.
const GATHER: Duration = Duration::from_millis(200);
/// After a write that failed, for example because the disk is full.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The file and when it must be written.
pub(crate) struct Store {
    path: PathBuf,
    refuge: Option<PathBuf>,
    boot_id: String,
    due: Option<Moment>,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    boot_id: String,
    /// When it was written, in nanoseconds since boot.
    #[serde(default)]
    written: u64,
    services: BTreeMap<Name, Memory>,
}

impl Store {
    /// Reads what a former daemon left. What cannot be read is set aside, once, and rebuilt from the shims.
    pub(crate) fn open(places: &Places) -> (Self, BTreeMap<Name, Memory>) {
        let path = places.state_dir.join("state.json");
        let refuge = places.refuge.clone();
        let later = refuge.as_deref().and_then(|refuge| read(refuge).ok().flatten());
        let later = later.filter(|later| later.boot_id == places.boot_id);
        let mut memories = match read(&path).map(|contents| latest(contents, later)) {
            Ok(Some(contents)) if contents.boot_id == places.boot_id => contents.services,
            Ok(Some(mut contents)) => {
                contents.services.values_mut().for_each(|memory| memory.forget_boot(clock::now()));
                contents.services
            }
            Ok(None) => BTreeMap::new(),
            Err(error) => {
                set_aside(&path, &error);
                BTreeMap::new()
            }
        };
        memories.retain(|_, memory| *memory != Memory::default());
        (Self { path, refuge, boot_id: places.boot_id.clone(), due: None }, memories)
    }

    /// Notes that a service changed.
    pub(crate) fn changed(&mut self, before: &Snapshot, after: &Snapshot, now: Moment) {
        if (before.goal, before.run) != (after.goal, after.run) {
            self.due = Some(now);
        } else if (&before.state, before.restarts, before.health)
            != (&after.state, after.restarts, after.health)
        {
            self.due.get_or_insert(now.plus(GATHER));
        }
    }

    /// When [`Store::write_if_due`] should be called.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.due
    }

    pub(crate) fn write_if_due(&mut self, fleet: &Fleet, now: Moment) {
        if self.due.is_some_and(|due| due <= now) {
            self.flush(fleet);
        }
    }

    /// Writes everything down now.
    pub(crate) fn flush(&mut self, fleet: &Fleet) {
        self.due = None;
        if let Err(error) = self.write(fleet) {
            tracing::error!(%error, path = %self.path.display(), "cannot write the state; trying again");
            self.due = Some(clock::now().plus(TRY_AGAIN));
        }
    }

    fn write(&self, fleet: &Fleet) -> io::Result<()> {
        let memory = |id| (fleet.plan().service(id).name.clone(), fleet.machine(id).memory().clone());
        let services = fleet.plan().ids().map(memory).collect();
        let written = clock::now().as_nanos();
        let contents = Contents { version: VERSION, boot_id: self.boot_id.clone(), written, services };
        let bytes = serde_json::to_vec(&contents)?;
        self.write_whole(&bytes).inspect_err(|_| {
            let refuge = self.refuge.as_deref().map(|refuge| write_private(refuge, &bytes));
            if let Some(Err(error)) = refuge {
                tracing::error!(%error, "cannot write the state beside the socket either");
            }
        })
    }

    /// Makes the directory anew if somebody has deleted it.
    fn write_whole(&self, bytes: &[u8]) -> io::Result<()> {
        match (write_private(&self.path, bytes), self.path.parent()) {
            (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
                private_dir(directory)?;
                write_private(&self.path, bytes)
            }
            (written, _) => written,
        }
    }
}

/// What was written last.
fn latest(usual: Option<Contents>, refuge: Option<Contents>) -> Option<Contents> {
    match (usual, refuge) {
        (Some(usual), Some(refuge)) if refuge.boot_id == usual.boot_id && usual.written >= refuge.written => {
            Some(usual)
        }
        (usual, refuge) => refuge.or(usual),
    }
}

/// Replaces a file in one step, readable by its owner alone.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(bytes)?;
    drop(file);
    std::fs::rename(aside, path)
}

fn read(path: &Path) -> io::Result<Option<Contents>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let contents: Contents = serde_json::from_slice(&bytes)?;
    match contents.version {
        VERSION => Ok(Some(contents)),
        other => Err(io::Error::other(format!("it is of version {other}, this program reads {VERSION}"))),
    }
}

fn set_aside(path: &Path, error: &io::Error) {
    let aside = path.with_extension("json.unreadable");
    let moved = std::fs::rename(path, &aside);
    let (path, aside) = (path.display(), aside.display());
    tracing::error!(%error, %path, %aside, ?moved, "cannot read the state; set it aside, and went by what the shims say");
}
