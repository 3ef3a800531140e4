//! What a user of the library may ask for: [`Wish`], [`Watch`], [`Apply`].

use service_core::fleet::WaitCondition;
use service_core::service::Asker;
use std::time::Duration;

pub use service_core::fleet::Propagate;

tokio::task_local! {
    /// Whoever a task works for that may change definitions.
    pub(crate) static ON_BEHALF: String;
}

/// Whoever the present task works for, where that is known.
pub(crate) fn on_behalf() -> Option<String> {
    ON_BEHALF.try_with(Clone::clone).ok()
}

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What is to be done.
    pub verb: Verb,
    /// To which services.
    pub names: Vec<String>,
    /// To every service instead.
    pub all: bool,
    /// Whether a restart of every service is one of completed one-shots, too.
    pub oneshots: bool,
    /// Whether dependencies (start) or dependents (stop) or both (restart) come along; absent: as configured.
    pub relatives: Option<Propagate>,
    /// How long the rows may take.
    pub patience: Patience,
    /// By which command, and who gave it.
    pub asker: Asker,
    /// The number of the last wish when this one was planned, by an apply: about a service for which somebody has wished
    /// something since then it says nothing.
    pub planned: Option<u64>,
}

/// What somebody waits for without wishing it.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    /// The services; none: all.
    pub(crate) names: Vec<String>,
    /// The point they are to come to.
    pub(crate) until: WaitCondition,
    /// How long to wait; absent: until it has come, or never can.
    pub(crate) limit: Option<Duration>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Let it run.
    Start,
    /// Let it not run.
    Stop,
    /// Stop it, start it.
    Restart,
    /// Let it go on under its definition in the plan, which differs only in what may change under way.
    Update,
}

impl Verb {
    /// The word for it, in an error.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Update => "update",
        }
    }
}

/// How long to wait for the fate of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: the rows say what is under way.
    None,
    /// So long.
    For(Duration),
    /// Until each service is as wished, or cannot be.
    Endless,
}

impl Wish {
    /// A wish with every default.
    pub fn new(verb: Verb, names: Vec<String>) -> Self {
        let command = match verb {
            Verb::Start => "service start",
            Verb::Stop => "service stop",
            Verb::Restart => "service restart",
            Verb::Update => "service apply",
        };
        let asker =
            Asker { command: command.to_owned(), by: format!("program (pid {})", std::process::id()) };
        Self {
            verb,
            names,
            all: false,
            oneshots: false,
            relatives: None,
            patience: Patience::Endless,
            planned: None,
            asker,
        }
    }

    /// The same wish, of somebody.
    #[must_use]
    pub fn by(mut self, by: impl Into<String>) -> Self {
        self.asker.by = by.into();
        self
    }

    /// The same wish, as part of another command.
    #[must_use]
    pub fn for_command(mut self, command: &str) -> Self {
        command.clone_into(&mut self.asker.command);
        self
    }
}

/// How a plan is to be applied.
#[derive(Debug, Clone)]
pub(crate) struct Apply {
    /// Start every service that is new, not only those that something needs.
    pub(crate) start: bool,
    /// Go back if any of it fails.
    pub(crate) rollback: bool,
    /// For each step.
    pub(crate) patience: Patience,
    /// Who asks for it.
    pub(crate) by: String,
}

/// Whether a plan that was checked is in force, or the file has changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enacted {
    Yes,
    No,
}
