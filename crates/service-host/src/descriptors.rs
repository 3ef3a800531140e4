//! [`DescriptorBudget`]: divides this process's limit of open files, so that connections, files and checks always have
//! descriptors, whatever the number of services.
//!
//! A service uses one descriptor, for the connection to its shim. While enough descriptors are free, a service uses
//! three more, for the output that a dead shim would leave ([`service_shim::OrphanedOutput`]). Otherwise services run
//! without these three; without a descriptor for the connection, a start fails.

use nix::libc::{EMFILE, ENFILE};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The descriptors of the daemon itself: files, `/proc`, and the descriptors of one launch.
const RESERVED_DESCRIPTORS: usize = 32;
/// The maximum number of descriptors for connections, logs and checks together.
const MAX_OTHERS: usize = 8192;
/// The descriptors of a shim's output.
const ORPHANED_OUTPUT_DESCRIPTORS: usize = 3;
/// The maximum number of descriptors reserved for services without orphaned output.
const MAX_ORPHAN_RESERVE: usize = 4096;
/// The maximum number of open descriptors of a check.
const CHECK_DESCRIPTORS: usize = 2;

/// The descriptors held for services.
static HELD_DESCRIPTORS: AtomicUsize = AtomicUsize::new(0);
/// The soft limit before it was raised: the limit of services, checks and managers.
static INITIAL_SOFT_LIMIT: OnceLock<u64> = OnceLock::new();

/// The shares of a limit of open files.
#[derive(Debug, Clone, Copy)]
pub struct DescriptorBudget {
    limit: usize,
}

impl DescriptorBudget {
    /// The present budget. The limit may change while the daemon runs (`prlimit`).
    pub fn now() -> Self {
        let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        Self { limit: usize::try_from(soft).unwrap_or(usize::MAX) }
    }

    fn shared(self) -> usize {
        self.limit.saturating_sub(RESERVED_DESCRIPTORS)
    }

    /// The descriptors for services.
    fn services(self) -> usize {
        (self.shared() / 16 * 7).max(self.shared().saturating_sub(MAX_OTHERS))
    }

    /// The number of descriptors for services up to which the daemon also retains the output of their shims.
    fn with_orphaned_output(self) -> usize {
        (self.services() / 2).max(self.services().saturating_sub(MAX_ORPHAN_RESERVE))
    }

    /// The limit of connections of one kind at one listener; at most `most`.
    pub fn connections(self, most: usize) -> usize {
        most.min(self.shared() / 16).max(4)
    }

    /// The limit of logs that are read at the same time; at most `most`.
    pub fn logs(self, most: usize) -> usize {
        most.min(self.shared() / 12).max(2)
    }

    /// The limit of concurrent checks.
    pub fn checks(self) -> usize {
        (self.shared() / 16 / CHECK_DESCRIPTORS).max(1)
    }

    /// The limit of idle shims; at most `most`.
    pub fn idle_shims(self, most: usize) -> usize {
        most.min(self.services() / 32)
    }

    /// The limit of services that a preflight check examines at once, with two descriptors each; at most `most`.
    pub fn preflight_checks(self, most: usize) -> usize {
        most.min(self.shared() / 16).max(1)
    }
}

/// The descriptors of a service, released on drop.
#[derive(Debug)]
pub struct DescriptorPermit(usize);

impl DescriptorPermit {
    /// Takes the descriptor of a connection.
    pub fn connection() -> Result<Self, NoDescriptors> {
        let budget = DescriptorBudget::now();
        let mut held = Self(0);
        if held.try_reserve(1, budget.services()) {
            Ok(held)
        } else {
            Err(NoDescriptors { limit: budget.limit })
        }
    }

    /// Takes the descriptors of the orphaned output. Returns whether enough are free.
    pub fn and_orphaned_output(&mut self) -> bool {
        self.0 > 1
            || self.try_reserve(ORPHANED_OUTPUT_DESCRIPTORS, DescriptorBudget::now().with_orphaned_output())
    }

    fn try_reserve(&mut self, number: usize, most: usize) -> bool {
        let fits = |held: usize| (held + number <= most).then_some(held + number);
        let taken = HELD_DESCRIPTORS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.0 += if taken { number } else { 0 };
        taken
    }
}

impl Drop for DescriptorPermit {
    fn drop(&mut self) {
        HELD_DESCRIPTORS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// The remedy for a lack of descriptors.
pub const RAISE_LIMIT_HELP: &str =
    "raise `ulimit -n`, or `LimitNOFILE=` of its unit, and run `service daemon restart`";

/// No descriptor is free for a further service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoDescriptors {
    limit: usize,
}

impl NoDescriptors {
    /// The error, with the present limit of this process.
    pub fn now() -> Self {
        Self { limit: DescriptorBudget::now().limit }
    }
}

impl fmt::Display for NoDescriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the daemon may have no more than {} open files, and keeps some for itself", self.limit)
    }
}

impl std::error::Error for NoDescriptors {}

/// Whether an error means that too many files are open, in this process or on the machine.
pub fn is_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Raises the soft limit to the hard limit. Returns the initial soft limit, which services start with.
pub fn raise() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
    Some(*INITIAL_SOFT_LIMIT.get_or_init(|| soft))
}

/// Gives a child the initial soft limit instead of the raised one, because some programs close every possible
/// descriptor.
#[expect(unsafe_code, reason = "pre_exec runs in a forked child, which is unsafe in general")]
pub fn as_meant(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let Some(soft) = INITIAL_SOFT_LIMIT.get().copied() else { return };
    let limit = move || {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?)
    };
    // SAFETY: the closure makes two system calls.
    unsafe { command.pre_exec(limit) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_limit_is_all_that_may_be_open_fits_below_it() {
        for limit in [48, 64, 100, 128, 200, 256, 1024, 4096, 20_000, 1 << 20] {
            let budget = DescriptorBudget { limit };
            let listeners = 2 * (budget.connections(256) + budget.connections(1100)) + 2 * budget.logs(256);
            let others = RESERVED_DESCRIPTORS
                + listeners
                + budget.checks() * CHECK_DESCRIPTORS
                + 4 * budget.idle_shims(32);
            // With a very low limit, the Unix and the TCP listener do not both reach their limit.
            let slack = if limit < 128 { 16 } else { 0 };
            assert!(
                others + budget.services() <= limit + slack || budget.checks() > 256,
                "{limit}: {others}"
            );
            assert!(budget.with_orphaned_output() <= budget.services());
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_orphaned_outputs_leave_room_for_connections() {
        let budget = DescriptorBudget { limit: 200 };
        let mut held: Vec<DescriptorPermit> = Vec::new();
        let mut whole = 0;
        loop {
            let mut next = DescriptorPermit(0);
            if !next.try_reserve(1, budget.services()) {
                break;
            }
            whole +=
                usize::from(next.try_reserve(ORPHANED_OUTPUT_DESCRIPTORS, budget.with_orphaned_output()));
            held.push(next);
        }
        assert_eq!((whole, held.len()), (8, 46));
        held.clear();
        assert_eq!(HELD_DESCRIPTORS.load(Ordering::Relaxed), 0);
    }
}
