//! How the limits of a run are kept: by a cgroup, by an rlimit or not at all, and why not better.
//!
//! This is decided at each launch and written down beside the record of the run, so that every later daemon knows it,
//! can say why a run was killed, and finds the cgroup that it has to remove.

use super::cgroup::{Around, Cgroup, Site};
use crate::host::fs::write_private;
use crate::host::paths::Paths;
use serde::{Deserialize, Serialize};
use service_core::Name;
use service_core::config::Limits;
use service_core::service::Exit;
use service_shim::protocol;
use std::path::PathBuf;
use std::time::Duration;

/// Between two tries to remove a cgroup whose last process is just being killed.
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// After so many tries what is in it is beyond us.
const MOST_TRIES: u32 = 400;

/// What was written down about one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    run: u64,
    cgroup: Option<PathBuf>,
    pub(crate) memory: Option<Limit<u64>>,
    pub(crate) cpu: Option<Limit<f64>>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limit<T> {
    /// How much.
    pub(crate) most: T,
    by: By,
    /// Why not by a cgroup.
    why: Option<String>,
}

/// Who keeps a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    Cgroup,
    Rlimit,
    None,
}

impl By {
    fn word(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Rlimit => "rlimit",
            Self::None => "none",
        }
    }
}

impl Kept {
    /// What was written down about this run.
    pub(crate) fn of(paths: &Paths, name: &Name, run: u64) -> Option<Self> {
        noted(paths, name).filter(|kept| kept.run == run)
    }

    /// The word for who keeps them: `cgroup`, `rlimit` or `none`, or one for each.
    pub(crate) fn word(&self) -> String {
        match (self.memory.as_ref().map(|limit| limit.by), self.cpu.as_ref().map(|limit| limit.by)) {
            (Some(memory), Some(cpu)) if memory != cpu => {
                format!("memory: {}, cpu: {}", memory.word(), cpu.word())
            }
            (Some(by), _) | (None, Some(by)) => by.word().to_owned(),
            (None, None) => By::None.word().to_owned(),
        }
    }

    /// The bound of each process's address space, where that is how memory is bounded.
    pub(crate) fn address_space(&self) -> Option<u64> {
        self.memory.as_ref().filter(|limit| limit.by == By::Rlimit).map(|limit| limit.most)
    }

    /// What a user must know who counts on them.
    pub(crate) fn caveat(&self) -> Option<String> {
        let why = |why: &Option<String>| why.clone().unwrap_or_default();
        let memory = self.memory.as_ref().and_then(|limit| match limit.by {
            By::Cgroup => None,
            By::Rlimit => Some(format!("memory_limit holds for each process by itself: {}", why(&limit.why))),
            By::None => Some(format!("memory_limit is not enforced: {}", why(&limit.why))),
        });
        let cpu = self.cpu.as_ref().filter(|limit| limit.by != By::Cgroup);
        let cpu = cpu.map(|limit| format!("cpu_limit is not enforced: {}", why(&limit.why)));
        match (memory, cpu) {
            (Some(memory), Some(cpu)) => Some(format!("{memory}; {cpu}")),
            (memory, cpu) => memory.or(cpu),
        }
    }
}

/// Decides how the limits of a run are kept, and prepares it. Whatever stands in the way, the service is started: with
/// what can be had, and with a word about what cannot.
pub(super) fn prepare(paths: &Paths, name: &Name, limits: &Limits, run: u64) -> protocol::Limits {
    if let Some(old) = noted(paths, name).and_then(|kept| kept.cgroup).map(Cgroup)
        && let Err(error) = old.remove()
    {
        tracing::warn!(service = %name, cgroup = %old.0.display(), %error, "cannot remove the cgroup of its last run");
    }
    if limits.is_none() {
        let _ = std::fs::remove_file(note(paths, name));
        return protocol::Limits::default();
    }
    let cgroup = format!("run.{}.{name}.{run}", paths.fingerprint());
    let mut kept = plan(Site::find(&Around::us()), limits, &cgroup, run);
    let wanted = kept.cgroup.clone();
    // Before it exists, so that it is found whenever we are killed.
    let made = write_down(paths, name, &kept)
        .map_err(|error| format!("`{}` cannot be written: {error}", note(paths, name).display()))
        .and_then(|()| wanted.map_or(Ok(()), |cgroup| make(&Cgroup(cgroup), &kept)));
    if let Err(why) = made {
        kept.give_up(&why);
        if let Err(error) = write_down(paths, name, &kept) {
            tracing::warn!(service = %name, %error, "cannot write down how its limits are kept");
        }
    }
    if let Some(caveat) = kept.caveat() {
        tracing::warn!(service = %name, run, "{caveat}");
    }
    kept.launch()
}

/// What is possible: each limit by the cgroup if its controller can be had.
fn plan(site: Result<Site, String>, limits: &Limits, name: &str, run: u64) -> Kept {
    let by_cgroup = |controller: &str| match &site {
        Ok(site) => site.enable(controller),
        Err(why) => Err(why.clone()),
    };
    let memory = limits.memory.map(|most| match by_cgroup("memory") {
        Ok(()) => Limit { most, by: By::Cgroup, why: None },
        Err(why) => Limit { most, by: By::Rlimit, why: Some(why) },
    });
    // No rlimit fits: RLIMIT_CPU is how much in a whole life, not how much at a time.
    let cpu = limits.cpu.map(|most| match by_cgroup("cpu") {
        Ok(()) => Limit { most, by: By::Cgroup, why: None },
        Err(why) => Limit { most, by: By::None, why: Some(why) },
    });
    let needed = [memory.as_ref().map(|limit| limit.by), cpu.as_ref().map(|limit| limit.by)];
    let site = site.ok().filter(|_| needed.contains(&Some(By::Cgroup)));
    Kept { run, cgroup: site.map(|site| site.place(name)), memory, cpu }
}

fn make(cgroup: &Cgroup, kept: &Kept) -> Result<(), String> {
    let limits = || {
        cgroup.make()?;
        if let Some(limit) = kept.memory.as_ref().filter(|limit| limit.by == By::Cgroup) {
            cgroup.limit_memory(limit.most)?;
        }
        match kept.cpu.as_ref().filter(|limit| limit.by == By::Cgroup) {
            Some(limit) => cgroup.limit_cpu(limit.most),
            None => Ok(()),
        }
    };
    limits().map_err(|error: std::io::Error| {
        let _ = cgroup.remove();
        format!("cgroup `{}` cannot be made: {error}", cgroup.0.display())
    })
}

impl Kept {
    /// Goes on without a cgroup.
    fn give_up(&mut self, why: &str) {
        self.cgroup = None;
        if let Some(limit) = self.memory.as_mut().filter(|limit| limit.by == By::Cgroup) {
            (limit.by, limit.why) = (By::Rlimit, Some(why.to_owned()));
        }
        if let Some(limit) = self.cpu.as_mut().filter(|limit| limit.by == By::Cgroup) {
            (limit.by, limit.why) = (By::None, Some(why.to_owned()));
        }
    }

    /// The shim's part of it.
    fn launch(&self) -> protocol::Limits {
        let by_rlimit = self.memory.as_ref().filter(|limit| limit.by == By::Rlimit);
        protocol::Limits { cgroup: self.cgroup.clone(), address_space: by_rlimit.map(|limit| limit.most) }
    }
}

/// How a process of a run ended, in the core's words; to be asked while its cgroup is there.
pub(crate) fn exit(paths: &Paths, name: &Name, run: u64, exit: service_shim::Exit) -> Exit {
    let signal = match exit {
        service_shim::Exit::Code(code) => return Exit::Code(code),
        service_shim::Exit::Signal(signal) => signal,
    };
    let kept = || Kept::of(paths, name, run);
    match kept().filter(|_| signal == nix::libc::SIGKILL) {
        Some(Kept { cgroup: Some(cgroup), memory: Some(limit), .. })
            if Cgroup(cgroup.clone()).was_out_of_memory() =>
        {
            Exit::OutOfMemory(limit.most)
        }
        _ => Exit::Signal(signal),
    }
}

/// Kills what is left in the cgroup of a run whose shim is gone.
pub(super) fn kill(paths: &Paths, name: &Name, run: u64) {
    if let Some(cgroup) = Kept::of(paths, name, run).and_then(|kept| kept.cgroup) {
        Cgroup(cgroup).kill();
    }
}

/// Removes the cgroup of a run that is over.
pub(super) async fn leave(paths: &Paths, name: &Name, run: u64) {
    if let Some(kept) = Kept::of(paths, name, run) {
        clear(paths, name, &kept).await;
    }
}

/// Removes what a former daemon left of a service that does not run, with whatever is still in there.
pub(crate) async fn leave_over(paths: &Paths, name: &Name) {
    if let Some(kept) = noted(paths, name) {
        kill(paths, name, kept.run);
        clear(paths, name, &kept).await;
    }
}

async fn clear(paths: &Paths, name: &Name, kept: &Kept) {
    if let Some(cgroup) = kept.cgroup.clone().map(Cgroup) {
        let mut tries = 0;
        while let Err(error) = cgroup.remove() {
            tries += 1;
            if tries == MOST_TRIES {
                tracing::error!(service = %name, cgroup = %cgroup.0.display(), %error, "cannot remove its cgroup");
                return;
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
    // Why the run ended may be asked later, and a bound of the address space is a likely reason.
    if kept.address_space().is_some() {
        return;
    }
    // The next run may have begun meanwhile; what is written down now is about that one.
    if noted(paths, name).as_ref() == Some(kept) {
        let _ = std::fs::remove_file(note(paths, name));
    }
}

fn note(paths: &Paths, name: &Name) -> PathBuf {
    paths.files(name).directory().join("limits.json")
}

fn noted(paths: &Paths, name: &Name) -> Option<Kept> {
    serde_json::from_slice(&std::fs::read(note(paths, name)).ok()?).ok()
}

fn write_down(paths: &Paths, name: &Name, kept: &Kept) -> std::io::Result<()> {
    write_private(&note(paths, name), &serde_json::to_vec(kept)?)
}
