//! The service orchestrator: starts services in the order of their dependencies, each gated on real health, and keeps
//! them running.
//!
//! [`ServiceOrchestrator`] is the complete orchestrator without an HTTP server, for use in any program on a tokio
//! runtime; `orchestratord` serves it over a socket. `service-core` makes the decisions, and this crate carries them
//! out.
//!
//! Checks of `http://` and `https://` endpoints need the feature `http`, which adds an HTTP client with TLS. Without it,
//! a definition with such an endpoint is refused.
//!
//! # Dependency resolution
//!
//! ```
//! # use service_orchestrator::{Service, ServiceOrchestrator};
//! # fn service(name: &str, dependencies: &[&str]) -> Service {
//! #     Service { name: name.into(), description: String::new(), start_command: "sleep 60".into(),
//! #         dependencies: dependencies.iter().map(|name| name.to_string()).collect(),
//! #         stop_command: String::new(), health_check_endpoint: None }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let service_orchestrator = ServiceOrchestrator::new().await?;
//! # service_orchestrator.register_service(service("service-a", &[])).await?;
//! # service_orchestrator.register_service(service("service-b", &["service-a"])).await?;
//! # service_orchestrator.register_service(service("service-c", &["service-b"])).await?;
//! let order = service_orchestrator.resolve_startup_order(&[
//!  "service-c".to_string()
//! ]).await?;
//!
//! // Returns: ["service-a", "service-b", "service-c"]
//! # assert_eq!(order, ["service-a", "service-b", "service-c"]);
//! # Ok(()) }
//! ```
//!
//! # Start, health and status
//!
//! ```
//! # use service_orchestrator::{Service, ServiceOrchestrator, ServiceStatus};
//! # fn service(name: &str, dependencies: &[&str]) -> Service {
//! #     Service { name: name.into(), description: String::new(), start_command: "sleep 60".into(),
//! #         dependencies: dependencies.iter().map(|name| name.to_string()).collect(),
//! #         stop_command: String::new(), health_check_endpoint: None }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let service_orchestrator = ServiceOrchestrator::new().await?;
//! # service_orchestrator.register_service(service("database", &[])).await?;
//! # service_orchestrator.register_service(service("cache", &["database"])).await?;
//! # service_orchestrator.register_service(service("web-app", &["cache"])).await?;
//! // Start service with dependencies
//! service_orchestrator.start_service("web-app").await?;
//!
//! // Automatically starts: database -> cache -> web-app
//! # for name in ["database", "cache", "web-app"] {
//! #     assert_eq!(service_orchestrator.get_service_status(name).await?, ServiceStatus::Running);
//! # }
//!
//! let health = service_orchestrator.check_service_health("web-app").await?;
//!
//! if health.healthy {
//!  println!("Service is healthy: {}", health.message);
//! }
//! # assert!(health.healthy);
//!
//! let status = service_orchestrator.get_service_status("web-app").await?;
//!
//! match status {
//!  ServiceStatus::Running => println!("Service is running"),
//!  ServiceStatus::Stopped => println!("Service is stopped"),
//!  ServiceStatus::Failed => println!("Service has failed"),
//!  ServiceStatus::Unknown => println!("Service status unknown"),
//! }
//! # service_orchestrator.stop_service("database").await?;
//! # assert_eq!(service_orchestrator.get_service_status("web-app").await?, ServiceStatus::Stopped);
//! # Ok(()) }
//! ```
//!
//! # Definitions
//!
//! ```
//! # use service_orchestrator::{Service, ServiceOrchestrator};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let service_orchestrator = ServiceOrchestrator::new().await?;
//! let coredns_service = Service {
//!  name: "coredns".to_string(),
//!  description: "CoreDNS DNS server".to_string(),
//!  dependencies: vec![], // No dependencies
//!  start_command: "systemctl start coredns".to_string(),
//!  stop_command: "systemctl stop coredns".to_string(),
//!  health_check_endpoint: Some("http://localhost:53/health".to_string()),
//! };
//!
//! let oci_registry = Service {
//!  name: "oci-registry".to_string(),
//!  description: "OCI distribution registry".to_string(),
//!  dependencies: vec!["coredns".to_string()], // Depends on DNS
//!  start_command: "systemctl start oci-registry".to_string(),
//!  stop_command: "systemctl stop oci-registry".to_string(),
//!  health_check_endpoint: Some("http://localhost:5000/v2/".to_string()),
//! };
//! # service_orchestrator.register_service(coredns_service).await?;
//! # service_orchestrator.register_service(oci_registry).await?;
//! # let order = service_orchestrator.resolve_startup_order(&["oci-registry".to_string()]).await?;
//! # assert_eq!(order, ["coredns", "oci-registry"]);
//! # Ok(()) }
//! ```

#![warn(clippy::missing_errors_doc)]

mod apply;
mod builder;
mod check_support;
mod checks_in_flight;
mod engine;
pub mod explain;
mod explain_outcomes;
pub mod graph_format;
mod handle;
pub mod lookup;
pub mod metrics;
mod preflight;
mod removal;
pub mod renamed_project;
pub mod request;
mod service;
pub mod snapshot;
mod unreported_exit;
pub mod views;

pub use builder::Builder;
pub use handle::ServiceOrchestrator;
pub use request::{Propagate, Request, Verb, WaitPolicy};
pub use service::{Service, ServiceHealth, ServiceStatus};
pub use service_api::{Code, Problem};
pub use service_config::{init, load};
