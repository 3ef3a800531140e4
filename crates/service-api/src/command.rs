//! Request bodies ([`ActionRequest`], [`ApplyRequest`], [`AddRequest`]), and their results, one row a service
//! ([`Outcome`]).

use crate::problem::Problem;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// Body of start, stop and restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ActionRequest {
    /// The services.
    pub names: Vec<String>,
    /// Whether the action applies to every service of the project. `names` is then empty.
    pub all: bool,
    /// Restart of `all`: also run completed one-shots again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub oneshots: bool,
    /// Start: also start dependencies. Stop: stop running dependents first. Restart: both. Absent: the value of
    /// `auto_start_dependencies` for a start, else true.
    pub relatives: Option<bool>,
    /// Whether the response waits until the action is done (the default), or is sent as soon as the action has begun.
    pub wait: bool,
    /// How long to wait, in milliseconds; absent: until the action is done or can no longer succeed.
    #[serde(deserialize_with = "count")]
    #[cfg_attr(feature = "openapi", schema(maximum = 9_007_199_254_740_991_u64))]
    pub timeout_ms: Option<u64>,
    /// Start, restart: only if `services.toml` has this hash, as printed by `service trust`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_hash: Option<String>,
}

impl Default for ActionRequest {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            all: false,
            oneshots: false,
            relatives: None,
            wait: true,
            timeout_ms: None,
            if_hash: None,
        }
    }
}

/// Body of apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ApplyRequest {
    /// Start every new service, not only dependencies of active services.
    pub start: bool,
    /// Roll back to the previous definitions if a step fails.
    pub rollback: bool,
    /// Timeout of each step, in milliseconds; absent: none.
    #[serde(deserialize_with = "count")]
    #[cfg_attr(feature = "openapi", schema(maximum = 9_007_199_254_740_991_u64))]
    pub timeout_ms: Option<u64>,
    /// Only if `services.toml` has this hash, as printed by `service trust`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_hash: Option<String>,
}

impl Default for ApplyRequest {
    fn default() -> Self {
        Self { start: false, rollback: true, timeout_ms: None, if_hash: None }
    }
}

/// Body of add.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AddRequest {
    /// The definitions: each has a `name` and keys of `services.toml`. The name of a transient service is optional.
    pub services: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Whether the services are deleted some time after their runs.
    pub transient: bool,
}

/// The largest accepted integer, which every client can represent exactly.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Reads a whole number up to [`MAX_SAFE_INTEGER`], also in the form `30000.0` of a client without integers.
///
/// # Errors
/// Any other value.
pub fn count<'de, D: Deserializer<'de>>(body: D) -> Result<Option<u64>, D::Error> {
    let whole = |number: &serde_json::Number| {
        let float = number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && (0.0..=MAX_SAFE_INTEGER as f64).contains(float));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the float is whole and within range"
        )]
        number.as_u64().or(float.map(|float| float as u64)).filter(|number| *number <= MAX_SAFE_INTEGER)
    };
    let number = Option::<serde_json::Number>::deserialize(body)?;
    let wrong =
        |number| D::Error::custom(format!("{number} is not a whole number between 0 and {MAX_SAFE_INTEGER}"));
    number.map(|number| whole(&number).ok_or_else(|| wrong(number))).transpose()
}

/// The result for one service. The rows of a start are in the order in which services became ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Outcome {
    /// The service.
    pub name: String,
    /// Whether the service has reached the requested state.
    pub ok: bool,
    /// The effect.
    pub action: Action,
    /// Coarse status: `running`, `stopped`, `failed` or `unknown`.
    pub status: String,
    /// Health: `healthy`, `unhealthy`, `alive`, `pending` or `none`.
    pub health: String,
    /// The time from the request to the result.
    pub took_ms: f64,
    /// Whether the service was named, or is included as a dependency or dependent.
    pub named: bool,
    /// Why the service has not reached the requested state.
    pub error: Option<Problem>,
    /// A note about a successful action, such as a failed stop command or a service that had to be killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Outcome {
    /// The row of a named service that is not in the fleet, or of which nothing more is known.
    pub fn new(name: &str, action: Action, status: &str) -> Self {
        Self {
            name: name.to_owned(),
            ok: true,
            action,
            status: status.to_owned(),
            health: "none".to_owned(),
            took_ms: 0.0,
            named: true,
            error: None,
            note: None,
        }
    }

    /// The row with this error, if there is one.
    #[must_use]
    pub fn with_error(self, error: Option<Problem>) -> Self {
        Self { ok: error.is_none(), error, ..self }
    }
}

/// The effect of an action on a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The service was started.
    Started,
    /// The service was stopped.
    Stopped,
    /// The service was stopped and started.
    Restarted,
    /// The service was defined.
    Added,
    /// The service was stopped, and is no longer defined.
    Removed,
    /// The definition was changed, without a restart.
    Updated,
    /// The service was returned to its state before a failed apply.
    RolledBack,
    /// The service was already in the requested state.
    Unchanged,
    /// The service is starting (without a wait, or after the timeout).
    Starting,
    /// The service is stopping (without a wait, or after the timeout).
    Stopping,
    /// The action failed.
    Failed,
}

impl Action {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Restarted => "restarted",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Updated => "updated",
            Self::RolledBack => "rolled_back",
            Self::Unchanged => "unchanged",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}
