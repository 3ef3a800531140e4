//! The requests of a user of the library: [`Request`], [`WaitRequest`], [`ApplyOptions`].

use service_core::fleet::WaitCondition;
use service_core::service::Requester;
use std::time::Duration;

pub use service_core::fleet::Propagate;

tokio::task_local! {
    /// The actor on whose behalf a task changes definitions.
    pub static ON_BEHALF: String;
}

/// The actor of the current task, if known.
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
    /// How long to wait for the result.
    pub wait: WaitPolicy,
    /// The command and the actor, for the journal.
    pub requester: Requester,
    /// The number of the last request at the time of an apply's plan. A service with a later request is not changed.
    pub planned: Option<u64>,
}

/// A request to wait for a condition of services.
#[derive(Debug, Clone)]
pub struct WaitRequest {
    /// The names of the services; if empty, all services.
    pub names: Vec<String>,
    /// The condition.
    pub until: WaitCondition,
    /// How long to wait; absent: until the condition holds or cannot be reached.
    pub limit: Option<Duration>,
}

/// The effect of a request on a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Starts the service.
    Start,
    /// Stops the service.
    Stop,
    /// Stops the service, then starts it.
    Restart,
    /// Changes the definition without a restart, if only live keys differ.
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

/// How long a request waits for its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitPolicy {
    /// The request returns at once. The rows name the actions that have begun.
    NoWait,
    /// The request returns when it is done, at the latest after this time.
    Timeout(Duration),
    /// The request returns when each service has reached the requested state or cannot reach it.
    Unlimited,
}

impl Request {
    /// A request with default options.
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
    /// Whether every new service is started, and not only new dependencies.
    pub start: bool,
    /// Whether a failed step causes a rollback.
    pub rollback: bool,
    /// How long each step waits for its result.
    pub wait: WaitPolicy,
    /// The actor.
    pub by: String,
}

/// Whether a checked plan is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enacted {
    /// The plan is in force.
    Yes,
    /// The file has changed meanwhile, and nothing was done.
    No,
}
