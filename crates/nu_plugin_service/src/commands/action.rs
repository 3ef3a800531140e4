//! [`ActionKind`]: start, stop, restart, apply, remove.

use service_api::routes;

/// The kind of an action.
#[derive(Debug, Clone, Copy)]
pub(super) enum ActionKind {
    Start,
    Stop,
    Restart,
    /// Apply the whole file.
    Apply,
    /// Stop an added service, and remove its definition.
    Remove,
}

impl ActionKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Apply => "apply",
            Self::Remove => "remove",
        }
    }

    /// The past participle, for a summary of successes.
    pub(super) fn past_tense(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
            Self::Apply => "applied",
            Self::Remove => "removed",
        }
    }

    /// The present participle, for the progress line.
    pub(super) fn participle(self) -> &'static str {
        match self {
            Self::Start => "starting",
            Self::Stop => "stopping",
            Self::Restart => "restarting",
            Self::Apply => "applying",
            Self::Remove => "removing",
        }
    }

    pub(super) fn route(self) -> &'static str {
        match self {
            Self::Start => routes::START,
            Self::Stop => routes::STOP,
            Self::Restart => routes::RESTART,
            Self::Apply => routes::APPLY,
            Self::Remove => routes::REMOVE,
        }
    }

    /// The flag that excludes dependencies or dependents.
    pub(super) fn alone_flag(self) -> &'static str {
        match self {
            Self::Start => "no-deps",
            Self::Stop | Self::Restart | Self::Apply | Self::Remove => "no-dependents",
        }
    }
}
