//! [`RequestOrigin`]: the actor and the command that set the goal of a service.

use crate::name::Name;
use alloc::format;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// The actor of a request because of a lost dependency.
pub const LOST: &str = "policy when_lost";

/// The requester of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// The command as typed, such as `service stop`.
    pub command: String,
    /// The actor: its kind is the first word, as in `user alice (uid 1000, pid 123, nu)`.
    pub by: String,
}

/// The request that set the goal of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOrigin {
    /// The requester.
    #[serde(flatten)]
    pub requester: Requester,
    /// The named service that included this one, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<Name>,
}

impl RequestOrigin {
    /// The request because of the loss of this dependency.
    pub fn lost(need: &Name) -> Self {
        Self { requester: Requester { command: String::new(), by: LOST.into() }, with: Some(need.clone()) }
    }

    /// The action and its origin: `done` is a participle such as `stopped`.
    pub fn describe(&self, done: &str) -> String {
        let Requester { command, by } = &self.requester;
        match &self.with {
            Some(need) if by == LOST => format!("{done} because its dependency `{need}` was lost ({by})"),
            Some(named) => format!("{done} with `{named}`, by `{command} {named}` of {by}"),
            None => format!("{done} by `{command}` of {by}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_told_with_who_gave_it_and_for_which_service() {
        let requester =
            Requester { command: "service stop".into(), by: "user alice (uid 7, pid 9, nu)".into() };
        let own = RequestOrigin { requester, with: None };
        assert_eq!(own.describe("stopped"), "stopped by `service stop` of user alice (uid 7, pid 9, nu)");
        let along = RequestOrigin { with: Name::new("redis").ok(), ..own };
        assert!(along.describe("stopped").starts_with("stopped with `redis`, by `service stop redis` of"));
        let lost = RequestOrigin::lost(&Name::new("db").unwrap()).describe("restarted");
        assert_eq!(lost, "restarted because its dependency `db` was lost (policy when_lost)");
    }
}
