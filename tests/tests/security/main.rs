//! The claims of `docs/security.md`, tested from an attacker's position: another user, a web page, a network client
//! without a token or with a lesser one, an endless client, and a name that leaves its directory.

mod attack;
mod bounds;
mod looking;
mod names;
mod ownership;
mod reader;
mod remote;
mod rights;
mod secrets;
mod socket;
mod tcp_auth;

use serde_json::Value;
use service_tests::{Project, tcp};

/// A project whose daemon also listens on TCP.
fn open_project(keys: &str) -> Option<Project> {
    let project = Project::new(&format!(
        "[orchestrator.api]\nlisten = \"127.0.0.1:0\"\n{keys}\n[services.web]\nstart_command = \"TEST_SERVICE say hello\"\n"
    ))?;
    project.value("service start web");
    Some(project)
}

/// The TCP address of the daemon, without the scheme.
fn address(project: &Project) -> String {
    let url = service_tests::eventually("it listens", || {
        let listen = project.value("service daemon status")["listen"].as_str()?.to_owned();
        listen.contains("://").then_some(listen)
    });
    url.split_once("://").expect("it is a URL").1.to_owned()
}

fn token(project: &Project, role: &str) -> String {
    let path = project.state_dir().join("tokens").join(role);
    std::fs::read_to_string(path).expect("tokens are there").trim().to_owned()
}

/// Sends a request with these headers, each with its line end. Returns the status, all headers and the JSON.
fn request(address: &str, method: &str, path: &str, headers: &str) -> (u16, String, Value) {
    let request =
        format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: 0\r\n\r\n");
    let answer = tcp(address, &request).expect("it is answered");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let head = head.to_ascii_lowercase();
    let body = if head.contains("transfer-encoding: chunked") {
        service_tests::joined(body)
    } else {
        body.to_owned()
    };
    (status, head, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// The headers of a client with this token.
fn bearer(address: &str, token: &str) -> String {
    format!("Host: {address}\r\nAuthorization: Bearer {token}\r\n")
}
