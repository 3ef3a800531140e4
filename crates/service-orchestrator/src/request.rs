//! The requests of a user of the library: [`Request`], [`WaitRequest`], [`ApplyOptions`].

use service_core::fleet::WaitCondition;
use service_core::service::Requester;
use std::time::Duration;

pub use service_core::fleet::Propagate;

tokio::task_local! {
    /// The actor of a task that may change definitions.
    pub static ON_BEHALF: String;
}

/// The actor of the present task, if known.
pub fn on_behalf() -> Option<String> {
    ON_BEHALF.try_with(Clone::clone).ok()
}

/// A request to start, stop, restart or update services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The action.
    pub verb: Verb,
    /// The names of the services.
    pub names: Vec<String>,
    /// Whether the request is for every service, instead of `names`.
    pub all: bool,
    /// Whether a restart of every service runs completed one-shots again.
    pub oneshots: bool,
    /// Whether the action propagates to dependencies (start), dependents (stop) or both (restart); absent: as configured.
    pub relatives: Option<Propagate>,
    /// How long the answer may take.
    pub wait: WaitPolicy,
    /// The command and the actor, for the journal.
    pub requester: Requester,
    /// The number of the last request when an apply planned this one. A service with a later request is left as it is.
    pub planned: Option<u64>,
}

/// A request to wait for a condition of services.
#[derive(Debug, Clone)]
pub struct WaitRequest {
    /// The names of the services; none: all.
    pub names: Vec<String>,
    /// The condition.
    pub until: WaitCondition,
    /// How long to wait; absent: until the condition holds, or never can.
    pub limit: Option<Duration>,
}

/// The effect of a request on a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Starts it.
    Start,
    /// Stops it.
    Stop,
    /// Stops it, then starts it.
    Restart,
    /// Changes its definition without a restart, if only live keys differ.
    Update,
}

impl Verb {
    /// The verb in an error message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Update => "update",
        }
    }
}

/// How long the answer to a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitPolicy {
    /// The answer comes at once. The rows name the actions that have begun.
    NoWait,
    /// The answer comes when the request is done, at the latest after this time.
    Timeout(Duration),
    /// The answer comes when each service is as requested, or cannot be.
    Unlimited,
}

impl Request {
    /// A request with every default.
    pub fn new(verb: Verb, names: Vec<String>) -> Self {
        let command = match verb {
            Verb::Start => "service start",
            Verb::Stop => "service stop",
            Verb::Restart => "service restart",
            Verb::Update => "service apply",
        };
        let requester =
            Requester { command: command.to_owned(), by: format!("program (pid {})", std::process::id()) };
        Self {
            verb,
            names,
            all: false,
            oneshots: false,
            relatives: None,
            wait: WaitPolicy::Unlimited,
            planned: None,
            requester,
        }
    }

    /// The same request, from another actor.
    #[must_use]
    pub fn by(mut self, by: impl Into<String>) -> Self {
        self.requester.by = by.into();
        self
    }

    /// The same request, as a part of another command.
    #[must_use]
    pub fn for_command(mut self, command: &str) -> Self {
        command.clone_into(&mut self.requester.command);
        self
    }
}

/// How a plan is to be applied.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Start every new service, and not only new dependencies.
    pub start: bool,
    /// Roll back if a step fails.
    pub rollback: bool,
    /// For each step.
    pub wait: WaitPolicy,
    /// The actor.
    pub by: String,
}

/// Whether a plan that was checked is in force, or the file has changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enacted {
    /// The plan is in force.
    Yes,
    /// The file has changed meanwhile, and nothing was done.
    No,
}
