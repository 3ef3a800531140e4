//! [`ExplainContext`]: what the daemon knows of a service beside its [`Snapshot`](crate::Snapshot).

use crate::config::Origin;
use crate::fleet::Blocker;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// What the world adds to a [`Snapshot`](crate::Snapshot).
#[derive(Debug, Clone, Copy, Default)]
pub struct ExplainContext<'a> {
    /// The service it waits for, if it waits, and why that one is in the way.
    pub need: Option<(&'a str, Option<Blocker>)>,
    /// What it needs and runs without, and how that is.
    pub lost: Option<(&'a str, &'a str)>,
    /// A process of somebody else's that holds the port it wants.
    pub holder: Option<&'a str>,
    /// Whether its work has an end.
    pub oneshot: bool,
    /// Where it is defined, and so corrected.
    pub origin: Origin,
    /// What of its command only a shell understands, and what to say instead.
    pub shell: Option<(&'a str, &'a str)>,
    /// The `PATH` that `env` gives it.
    pub path: Option<&'a str>,
    /// How long a start may take.
    pub limit: Option<Duration>,
    /// How long the start has left.
    pub left_to_start: Option<Duration>,
    /// What a line of its log is to match before it is ready.
    pub ready: Option<&'a str>,
    /// Whether it is to say that it is ready.
    pub notifies: bool,
    /// Whether a manager runs it, who has its log.
    pub managed: bool,
    /// Where it is asked how it is.
    pub endpoint: Option<&'a str>,
    /// What the last check of its run said, if it did not pass.
    pub check: Option<&'a str>,
    /// How long its last run lasted.
    pub lived: Option<Duration>,
    /// What its first process left behind when it ended.
    pub left: Option<&'a str>,
    /// How many lines it wrote in its last run, as far as they were counted.
    pub lines: usize,
    /// The last line of that run, of its standard error if there is one.
    pub said: Option<&'a str>,
    /// The line of that run that says most, where that is another one.
    pub telling: Option<&'a str>,
    /// The bound of the address space of each of its processes, where its `memory_limit` is kept so.
    pub address_space: Option<u64>,
    /// Its `memory_limit`, however it is kept.
    pub memory: Option<u64>,
}

/// Nothing is a pipe that no shell reads.
pub(super) fn no_shell(context: &ExplainContext<'_>) -> Option<String> {
    let (found, help) = context.shell?;
    Some(match context.origin {
        Origin::File => format!("{found}: {help}"),
        Origin::Added => format!("{found}: add it with `shell: sh`"),
        Origin::Transient => format!("{found}: run it with `--shell sh`"),
    })
}
