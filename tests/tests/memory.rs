//! The daemon's memory: what readers ask for and do not read is not in it.

use service_tests::{Project, ServiceTable, memory, request};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What the daemon may have, in bytes.
const MOST: u64 = 64 * 1024 * 1024;
const LINES: usize = 1_000_000;

#[test]
fn twenty_readers_of_a_million_lines_who_do_not_read_cost_next_to_nothing() {
    let chatter = format!(
        "[services.web]\nstart_command = \"ACTOR chatter {LINES} exit 0\"\noneshot = true\n\
         log = {{ max_size = \"256MiB\" }}\n"
    );
    let Some(project) = Project::new(&chatter) else { return };
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    let (daemon, socket) = (project.daemon(), project.socket());
    let paths =
        ["/api/v1/services/web/logs?tail=1000000", "/api/v1/logs?tail=1000000", "/api/v1/events?since=0"];
    let mut readers: Vec<UnixStream> = (0..20)
        .map(|n| {
            let mut stream = UnixStream::connect(&socket).expect("the daemon listens");
            stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout can be set");
            let accept = ["application/json", "application/x-ndjson"][n % 2];
            let path = paths[n % paths.len()];
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n").unwrap();
            stream
        })
        .collect();
    // Each has been answered as far as it can be when its first bytes are there and another request has been served.
    for reader in &mut readers {
        reader.read_exact(&mut [0; 16]).expect("an answer has begun");
    }
    drop(request(&socket, "GET", "/api/v1/daemon").expect("the daemon answers others"));
    let held = memory(daemon);
    assert!(held < MOST, "the daemon has {} MiB", held / 1024 / 1024);
    println!("with 20 unread answers the daemon has {} MiB", held / 1024 / 1024);
    // And whoever reads gets all of it.
    let told = request(&socket, "GET", "/api/v1/services/web/logs?tail=1000000").expect("the daemon answers");
    assert!(told.contains("line 1000000\"}"), "the last line is there");
    assert!(memory(daemon) < MOST, "the daemon has {} MiB", memory(daemon) / 1024 / 1024);
}
