//! [`Verb`]: start, stop, restart, apply, remove.

use service_api::routes;

/// What a command asks of services.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb {
    Start,
    Stop,
    Restart,
    /// Apply the whole file.
    Apply,
    /// Stop a service that was added, and remove its definition.
    Remove,
}

impl Verb {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Apply => "apply",
            Self::Remove => "remove",
        }
    }

    /// What is done to those for which it went well.
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
            Self::Apply => "applied",
            Self::Remove => "removed",
        }
    }

    /// The participle for the progress line.
    pub(super) fn doing(self) -> &'static str {
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

    /// The flag that leaves dependencies or dependents alone.
    pub(super) fn alone(self) -> &'static str {
        match self {
            Self::Start => "no-deps",
            Self::Stop | Self::Restart | Self::Apply | Self::Remove => "no-dependents",
        }
    }
}
