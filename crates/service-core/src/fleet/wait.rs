//! Conditions of waiting clients and their progress: [`WaitCondition`], [`Progress`], [`Blocker`].

use crate::plan::Id;

/// The progress of a request for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The requested state is not reached yet.
    Pending,
    /// The requested state is reached.
    Done,
    /// The requested state cannot be reached without a new request.
    Impossible(Blocker),
}

/// Why a request cannot succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// The service itself has failed.
    Failed,
    /// This dependency has failed, has ended, or has goal down.
    Dependency(Id),
    /// The opposite was requested.
    Superseded,
    /// The restart policy restarts the service whenever it ends.
    RestartsForever,
    /// It is unknown whether the service runs.
    Unclear,
}

/// An awaited condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// Dependents may start; a one-shot has completed.
    #[default]
    Ready,
    /// The service is ready and its checks pass, if it has any; a one-shot has completed.
    Healthy,
    /// The service has a process.
    Running,
    /// The service has no process, and no start is due.
    Stopped,
    /// The service has ended with code 0.
    Completed,
}

impl WaitCondition {
    /// Every condition with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ready", Self::Ready),
        ("healthy", Self::Healthy),
        ("running", Self::Running),
        ("stopped", Self::Stopped),
        ("completed", Self::Completed),
    ];
}
