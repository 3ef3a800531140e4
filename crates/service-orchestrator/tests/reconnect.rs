//! Tests of lost connections between the daemon and its shims.

use nix::sys::socket::{Shutdown, shutdown};
use service_orchestrator::{Service, ServiceOrchestrator, ServiceStatus};
use std::collections::BTreeSet;
use std::os::fd::RawFd;
use std::time::Duration;

#[tokio::test]
async fn a_connection_that_is_cut_off_leaves_the_service_alone_and_is_made_anew() {
    fn sockets() -> BTreeSet<RawFd> {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let is_socket = |path: &std::path::Path| {
            std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        };
        let sockets = open.filter(|entry| is_socket(&entry.path()));
        sockets.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    let orchestrator = ServiceOrchestrator::new().await.unwrap();
    let service = Service {
        name: "web".into(),
        description: String::new(),
        start_command: "sleep 1000".into(),
        dependencies: Vec::new(),
        stop_command: String::new(),
        health_check_endpoint: None,
    };
    orchestrator.register_service(service).await.unwrap();
    let before = sockets();
    orchestrator.start_service("web").await.unwrap();
    let pid = || orchestrator.fleet_snapshot().entry("web").unwrap().pid;
    let first = pid();
    for _ in 0..3 {
        let cut: Vec<RawFd> = sockets().difference(&before).copied().collect();
        assert!(!cut.is_empty());
        for socket in cut {
            shutdown(socket, Shutdown::Both).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(pid(), first, "the same process still runs");
    }
    assert_eq!(orchestrator.get_service_status("web").await.unwrap(), ServiceStatus::Running);
    orchestrator.stop_service("web").await.unwrap();
    assert_eq!(
        orchestrator.fleet_snapshot().entry("web").unwrap().snapshot.last_exit.unwrap().to_string(),
        "was ended by SIGTERM"
    );
    orchestrator.shutdown().await;
}
