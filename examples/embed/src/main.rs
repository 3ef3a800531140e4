//! Two services in your own program. `service-shim` must be beside this program, or be named in `$SERVICE_SHIM`.

use service_orchestrator::{Service, ServiceOrchestrator};
use std::error::Error;

fn service(name: &str, dependencies: &[&str]) -> Service {
    Service {
        name: name.into(),
        description: String::new(),
        dependencies: dependencies.iter().map(ToString::to_string).collect(),
        start_command: "sleep 60".into(),
        stop_command: String::new(),
        health_check_endpoint: None,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let orchestrator = ServiceOrchestrator::new().await?;
    orchestrator.register_service(service("database", &[])).await?;
    orchestrator.register_service(service("web-app", &["database"])).await?;
    println!("{:?}", orchestrator.resolve_startup_order(&["web-app".into()]).await?);
    orchestrator.start_service("web-app").await?;
    for name in ["database", "web-app"] {
        println!("{name}: {:?}", orchestrator.get_service_status(name).await?);
    }
    // A service survives the program that started it, so this program stops its services.
    orchestrator.stop_service("database").await?;
    println!("web-app: {:?}", orchestrator.get_service_status("web-app").await?);
    orchestrator.shutdown().await;
    Ok(())
}
