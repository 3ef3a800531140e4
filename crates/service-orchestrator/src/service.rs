//! The guide's own types: [`Service`], [`ServiceStatus`], [`ServiceHealth`].

use service_api::{Code, Problem};
use service_core::Name;
use service_core::config::{self, Command, Condition, Dependency, Manager, Span, WhenLost};
use service_core::health::Endpoint;
use service_core::snapshot::Status;
use std::time::Duration;

/// A service in the guide's six fields. All other keys have their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name.
    pub name: String,
    /// The purpose.
    pub description: String,
    /// The services that must be ready before this one starts.
    pub dependencies: Vec<String>,
    /// If `stop_command` is empty, the command line of the process, which is split into words, run directly and
    /// supervised. Otherwise a Nushell command line that starts a service outside the orchestrator.
    pub start_command: String,
    /// A Nushell command line that stops the service. If it is empty, the service is stopped by a signal.
    pub stop_command: String,
    /// The endpoint of the health checks; `None` for a process check.
    pub health_check_endpoint: Option<String>,
}

/// The coarse state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceStatus {
    /// The service has a process, or its manager reports it running.
    Running,
    /// The service has no process, as intended.
    Stopped,
    /// The service has no process, because of a failure.
    Failed,
    /// The status is unknown.
    Unknown,
}

/// The result of a health check.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceHealth {
    /// Whether the service passed the check.
    pub healthy: bool,
    /// The result as text.
    pub message: String,
    /// How long the check took.
    pub latency: Duration,
}

impl From<Status> for ServiceStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Stopped => Self::Stopped,
            Status::Failed => Self::Failed,
            Status::Unknown => Self::Unknown,
        }
    }
}

impl TryFrom<Service> for config::Service {
    type Error = Problem;

    fn try_from(service: Service) -> Result<Self, Problem> {
        let wrong = |error: &dyn std::fmt::Display| {
            Problem::new(Code::BadDefinition, format!("cannot register `{}`: {error}", service.name))
        };
        let mut definition = Self::new(Name::new(&service.name).map_err(|error| wrong(&error))?);
        let managed = !service.stop_command.trim().is_empty();
        let argv = match managed {
            true => vec![service.start_command.clone()],
            false => shell_words::split(&service.start_command).map_err(|error| wrong(&error))?,
        };
        if argv.first().is_none_or(String::is_empty) {
            return Err(wrong(&"its start command is empty"));
        }
        definition.start_command = Command { text: service.start_command.clone(), argv };
        if managed {
            definition.manager = Manager::BuiltIn("command".to_owned());
            definition.stop_command = Some(service.stop_command.clone());
        }
        for name in &service.dependencies {
            definition.dependencies.push(Dependency {
                name: Name::new(name).map_err(|error| wrong(&error))?,
                span: Span::default(),
                condition: Condition::default(),
                when_lost: WhenLost::default(),
            });
        }
        let endpoint = service.health_check_endpoint.as_deref().map(Endpoint::parse).transpose();
        definition.endpoint = endpoint.map_err(|error| wrong(&error))?;
        definition.description = service.description;
        Ok(definition)
    }
}
