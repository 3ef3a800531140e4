//! Tests of two orchestrators in one process.

use super::*;
use service_config::load::Additions;
use service_host::disk::Disk;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// An orchestrator with an API at a socket in this directory.
async fn serve_at(directory: &Path) -> Arc<ApiState> {
    std::fs::create_dir_all(directory).unwrap();
    let config = directory.join("services.toml");
    std::fs::write(&config, "[services.web]\nstart_command = \"sleep 60\"\n").unwrap();
    let additions = Additions::open(directory, "boot", Disk::default()).unwrap();
    let definitions = ProjectDefinitions::new(config.clone(), additions, Ok(()));
    let orchestrator = ServiceOrchestrator::new().await.unwrap();
    orchestrator.replan(service_config::load::plan(&config).unwrap()).await.unwrap();
    let socket = directory.join("api.sock");
    let project = Project { config, state_dir: directory.into(), socket: socket.clone(), trusted_hash: None };
    let began = service_host::clock::now();
    let api = Arc::new(state(orchestrator, project, definitions, began, None));
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(serve(listener, Arc::clone(&api), std::future::pending()));
    api
}

async fn get(api: &ApiState, path: &str) -> String {
    let mut stream = UnixStream::connect(&api.project.socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Makes every reader of the journal wait until the senders are dropped.
fn block_journal(api: &Arc<ApiState>) -> Vec<Sender<()>> {
    let block = |_| {
        let (sender, receiver) = channel::<()>();
        let api = Arc::clone(api);
        tokio::spawn(async move {
            let wait = move || {
                let _ = receiver.recv();
                Ok(())
            };
            api.journal_reads.run(wait).await
        });
        sender
    };
    (0..8).map(block).collect()
}

#[tokio::test]
async fn two_orchestrators_in_one_process_share_no_limit() {
    let directory = tempfile::tempdir().unwrap();
    let first = serve_at(&directory.path().join("first")).await;
    let second = serve_at(&directory.path().join("second")).await;
    let _blocked = block_journal(&first);
    let permits = Arc::clone(&first.log_readers.read_permits);
    let free = u32::try_from(permits.available_permits()).unwrap();
    let _logs = permits.try_acquire_many(free).unwrap();
    let _connection = first.connections.opened();
    for path in [routes::EVENTS, routes::LOGS, routes::STATUS] {
        let answer = get(&second, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
    }
    assert_eq!(first.connections.last_seen(), None);
    // The server may still be closing the last connection.
    while second.connections.last_seen().is_none() {
        second.connections.closed().await;
    }
    for api in [first, second] {
        api.orchestrator.shutdown().await;
    }
}
