//! What a client waits for, and how far it is: [`WaitCondition`], [`Progress`], [`Blocker`].

use crate::plan::Id;

/// How far a wish has come for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Not there yet.
    Pending,
    /// As wished.
    Done,
    /// It will not come to that, unless somebody wishes anew.
    Impossible(Blocker),
}

/// Why a wish comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// The service itself has failed.
    Failed,
    /// This dependency has failed, or ended, or is not wanted.
    Dependency(Id),
    /// Somebody wished the opposite.
    Superseded,
    /// Its policy starts it again whenever it ends.
    RestartsForever,
    /// Whether it runs cannot be told.
    Unclear,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// Dependents may go on; a one-shot has completed.
    #[default]
    Ready,
    /// It is ready and its checks pass, if it has any; a one-shot has completed.
    Healthy,
    /// It has a process.
    Running,
    /// Nothing of it runs, and nothing is about to.
    Stopped,
    /// It has ended with code 0.
    Completed,
}

impl WaitCondition {
    /// Each with its word.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ready", Self::Ready),
        ("healthy", Self::Healthy),
        ("running", Self::Running),
        ("stopped", Self::Stopped),
        ("completed", Self::Completed),
    ];
}
