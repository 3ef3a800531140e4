//! This project: `orchestratord` with default settings, controlled over its API. Its state is in memory or on a disk
//! that is in use.

use crate::disk::Medium;
use crate::harness::{Instance, Place, ServiceSpec, System};
use crate::process;
use serde_json::{Value, json};
use service_tests::{http, post, program};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The names of this project in the table.
pub(crate) const OURS: [&str; 2] = ["ours, tmpfs", "ours, disk"];

pub(crate) struct Ours(pub(crate) Medium);

impl System for Ours {
    fn name(&self) -> &'static str {
        let [memory, disk] = OURS;
        if self.0 == Medium::Memory { memory } else { disk }
    }

    fn version(&self) -> Option<String> {
        Some(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn medium(&self) -> Medium {
        self.0
    }

    fn set_up(&self, services: &[ServiceSpec], place: &Place) -> Option<Box<dyn Instance>> {
        fs::write(place.directory.join("services.toml"), definition(services)).ok()?;
        Some(Box::new(Daemon::start_in(place)))
    }
}

fn definition(services: &[ServiceSpec]) -> String {
    let mut text = String::new();
    for service in services {
        let needs: Vec<&str> = service.needs.iter().map(|need| services[*need].name.as_str()).collect();
        let _ = write!(text, "[services.{}]\nstart_command = {}\n", service.name, json!(service.command));
        if !needs.is_empty() {
            let _ = writeln!(text, "dependencies = {}", json!(needs));
        }
        if let Some(port) = service.port {
            let _ = writeln!(text, "health_check_endpoint = \"tcp://127.0.0.1:{port}\"");
        }
        if let Some((url, every)) = &service.check {
            let every = every.as_millis();
            let _ =
                writeln!(text, "health_check_endpoint = \"{url}\"\nhealth = {{ interval = \"{every}ms\" }}");
        }
        if let Some(output) = &service.output {
            text.push_str("oneshot = true\n");
            if output.kept {
                text.push_str("log = { max_size = \"4GB\" }\n");
            }
        }
    }
    text
}

/// Whether the socket is bound. The daemon binds the socket under another name and then renames it.
fn is_listening(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sock") && UnixStream::connect(path).is_ok()
}

/// A daemon for the project in a directory.
pub(crate) struct Daemon {
    place: Place,
    socket: PathBuf,
    process: Child,
    kept: Option<BufReader<UnixStream>>,
}

impl Daemon {
    /// Starts the daemon, and waits until it responds.
    pub(crate) fn start_in(place: &Place) -> Self {
        let log = File::create(place.directory.join("daemon.log")).expect("the directory is ours");
        let process = Command::new(program("orchestratord"))
            .arg("run")
            .current_dir(&place.directory)
            .env("SERVICE_SHIM", program("service-shim"))
            .env("XDG_STATE_HOME", place.directory.join("state"))
            .env("XDG_RUNTIME_DIR", &place.runtime)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("orchestratord can be run");
        let sockets = place.runtime.join("service-orchestrator");
        let deadline = Instant::now() + Duration::from_secs(20);
        let socket = loop {
            let entries = fs::read_dir(&sockets).into_iter().flatten().flatten();
            if let Some(path) = entries.map(|entry| entry.path()).find(|path| is_listening(path)) {
                break path;
            }
            assert!(Instant::now() < deadline, "orchestratord does not listen");
            std::thread::sleep(Duration::from_micros(100));
        };
        Self { place: place.clone(), socket, process, kept: None }
    }

    /// Kills the daemon, and leaves its services running.
    pub(crate) fn kill(mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        std::mem::forget(self);
    }

    /// The response to a POST.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = post(&self.socket, &format!("/api/v1/{path}"), &body.to_string());
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Sends a request for a stream of rows, without reading any.
    pub(crate) fn follow(&self, path: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).expect("the daemon listens");
        let head = "Host: localhost\r\nAccept: application/x-ndjson";
        write!(stream, "GET /api/v1/{path} HTTP/1.0\r\n{head}\r\n\r\n").expect("the daemon reads");
        stream
    }

    /// The number of running services.
    pub(crate) fn running(&self) -> usize {
        let running = self.get("daemon")["data"]["services_running"].as_u64();
        running.and_then(|running| running.try_into().ok()).unwrap_or(0)
    }

    /// The response to a GET.
    pub(crate) fn get(&self, path: &str) -> Value {
        http(&self.socket, "GET", &format!("/api/v1/{path}")).1
    }
}

impl Instance for Daemon {
    fn start(&mut self) {
        self.post("services/start", &json!({"all": true, "wait": false}));
    }

    fn stop(&mut self) {
        self.post("services/stop", &json!({"all": true, "wait": false}));
    }

    /// Uses one connection for all requests, like a client with frequent requests.
    fn status(&mut self) -> bool {
        let socket = &self.socket;
        let kept = self
            .kept
            .get_or_insert_with(|| BufReader::new(UnixStream::connect(socket).expect("the daemon listens")));
        kept.get_mut()
            .write_all(b"GET /api/v1/services/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("the daemon reads");
        let mut length = None;
        loop {
            let line = line(kept).to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse().expect("a length is a number"));
            }
            if line == "\r\n" {
                break;
            }
        }
        match length {
            Some(length) => discard_bytes(kept, length) > 0,
            // A long response arrives in chunks, each preceded by its length; the last one has length 0.
            None => {
                let mut all = 0;
                loop {
                    let length = line(kept);
                    let length = usize::from_str_radix(length.trim(), 16).expect("a length is a number");
                    discard_bytes(kept, length + 2);
                    all += length;
                    if length == 0 {
                        return all > 0;
                    }
                }
            }
        }
    }

    fn log(&self, service: &ServiceSpec) -> Option<PathBuf> {
        let projects = fs::read_dir(self.place.directory.join("state/service-orchestrator")).ok()?.flatten();
        let logs =
            projects.map(|project| project.path().join("services").join(&service.name).join("service.log"));
        logs.into_iter().find(|log| log.is_file())
    }
}

fn line(from: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("the daemon answers");
    line
}

fn discard_bytes(from: &mut BufReader<UnixStream>, length: usize) -> usize {
    let mut taken = vec![0; length];
    from.read_exact(&mut taken).expect("the daemon answers whole");
    length
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kept = None;
        let all = process::pids_in(&self.place.directory);
        let watch = process::Watch::on(&all);
        self.post("daemon/stop?services=true", &Value::Null);
        let _ = self.process.wait();
        watch.all_gone();
    }
}
