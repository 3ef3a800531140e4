//! TCP access is off by default. If it is on, it requires a token and a known host name, and refuses web pages.

use crate::{address, bearer, open_project, request, token};
use service_tests::{Project, ServiceTable, eventually, free_port};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

#[test]
fn nothing_listens_on_tcp_unless_it_is_asked_for() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"") else { return };
    project.value("service status");
    assert!(project.value("service daemon status")["listen"].is_null());
    assert!(!project.state_dir().join("tokens").exists());
    let daemon = project.daemon();
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{daemon}/fd"))
        .expect("it runs")
        .flatten()
        .filter_map(|fd| {
            Some(
                fs::read_link(fd.path())
                    .ok()?
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect();
    for table in ["tcp", "tcp6"] {
        let listening = fs::read_to_string(format!("/proc/{daemon}/net/{table}")).unwrap_or_default();
        let ours = listening.lines().filter(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(3) == Some(&"0A")
                && words.get(9).is_some_and(|inode| sockets.iter().any(|ours| ours == inode))
        });
        assert_eq!(ours.count(), 0);
    }
}

#[test]
fn each_token_opens_its_role_and_without_one_nothing_is_told() {
    let Some(project) = open_project("") else { return };
    let (at, pid) = (address(&project), project.pid("web"));
    for role in ["read", "admin"] {
        let mode = |path: &str| {
            fs::metadata(project.state_dir().join(path)).expect("it is there").permissions().mode() & 0o777
        };
        assert_eq!((mode("tokens"), mode(&format!("tokens/{role}"))), (0o700, 0o600));
    }
    let (read, admin) = (bearer(&at, &token(&project, "read")), bearer(&at, &token(&project, "admin")));
    let host = format!("Host: {at}\r\n");
    let wrong = bearer(&at, &"0".repeat(64));
    let basic = format!("{host}Authorization: Basic {}\r\n", token(&project, "admin"));
    for headers in [&host, &wrong, &basic, &format!("{host}Authorization: Bearer \r\n")] {
        for (method, path) in [
            ("GET", "/api/v1/version"),
            ("POST", "/api/v1/services/web/stop"),
            ("GET", "/nowhere"),
            ("DELETE", "/api/v1/services/add"),
        ] {
            let (status, head, answer) = request(&at, method, path, headers);
            assert_eq!((status, answer["error"]["code"].as_str()), (401, Some("unauthorized")), "{answer}");
            assert!(head.contains("www-authenticate: bearer"), "{head}");
            assert!(!head.contains("\r\nallow:"), "{head}");
        }
    }
    for two in [format!("{read}Authorization: Bearer x\r\n"), format!("{host}Authorization: x\r\n{admin}")] {
        let (status, _, answer) = request(&at, "POST", "/api/v1/services/web/stop", &two);
        assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("bad_request")), "{answer}");
    }
    let (status, _, answer) = request(&at, "GET", "/api/v1/services/status", &read);
    assert_eq!((status, answer["data"].row("web")["pid"].as_u64()), (200, Some(pid.into())));
    for (method, path) in [
        ("POST", "/api/v1/services/web/stop"),
        ("POST", "/api/v1/services/add"),
        ("POST", "/api/v1/daemon/stop"),
        ("DELETE", "/api/v1/services/web"),
        ("GET", "/api/v1/logs"),
        ("GET", "/api/v1/services/web/logs?tail=1"),
        ("GET", "/api/v1/services/web/logs/"),
    ] {
        let (status, _, answer) = request(&at, method, path, &read);
        assert_eq!((status, answer["error"]["code"].as_str()), (403, Some("forbidden")), "{path}: {answer}");
    }
    let lines = |headers: &str| {
        let (_, _, answer) = request(&at, "GET", "/api/v1/services/web/why", headers);
        answer["data"]["log"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((lines(&read), lines(&admin)), (0, 1), "logs are not for reading");
    assert_eq!(project.pid("web"), pid, "nobody has stopped it");
    let (status, _, answer) = request(&at, "POST", "/api/v1/services/web/stop", &admin);
    assert_eq!((status, answer["data"].row("web")["ok"].as_bool()), (200, Some(true)));
}

#[test]
fn a_page_in_a_browser_reaches_nothing_by_whatever_name() {
    let keys = "hosts = ['box.lan']\norigins = ['https://board.example']";
    let Some(project) = open_project(keys) else { return };
    let at = address(&project);
    let admin = format!("Authorization: Bearer {}\r\n", token(&project, "admin"));
    let port = at.rsplit(':').next().expect("it has a port");
    let status = |headers: &str| request(&at, "GET", "/api/v1/version", &format!("{headers}{admin}")).0;
    for host in ["localhost", &format!("localhost:{port}"), "127.0.0.1", "[::1]:7", "BOX.lan:1"] {
        assert_eq!(status(&format!("Host: {host}\r\n")), 200, "{host}");
    }
    // DNS rebinding: a foreign name resolves to this address.
    for host in
        ["evil.example", "evil.example:80", "10.1.2.3", "localhost.evil.example", "xlocalhost", "", "["]
    {
        let (status, _, answer) = request(&at, "GET", "/api/v1/version", &format!("Host: {host}\r\n{admin}"));
        assert!(status == 403 || status == 400, "{host}: {status} {answer}");
    }
    assert_eq!(status("Host: localhost\r\nHost: localhost\r\n"), 400, "two names are none");
    for odd in ["localhost:abc", "localhost:99999", "localhost:1:2", "[::1]x", "127.0.0.1:-1"] {
        assert_eq!(status(&format!("Host: {odd}\r\n")), 400, "{odd}");
    }
    let (foreign, _, _) =
        request(&at, "GET", "http://evil.example/api/v1/version", &format!("Host: localhost\r\n{admin}"));
    assert_eq!(foreign, 400, "the target names another host");
    for origin in ["https://evil.example", "null", &format!("http://{at}"), "https://board.example.evil"] {
        let headers = format!("Host: localhost\r\nOrigin: {origin}\r\n{admin}");
        let (status, head, answer) = request(&at, "POST", "/api/v1/services/web/stop", &headers);
        assert_eq!((status, answer["error"]["code"].as_str()), (403, Some("forbidden")), "{origin}");
        assert!(!head.contains("access-control"), "{head}");
        let (status, head, _) = request(
            &at,
            "OPTIONS",
            "/api/v1/services/web/stop",
            &format!("Host: localhost\r\nOrigin: {origin}\r\n"),
        );
        assert!(status == 403 && !head.contains("access-control"), "{head}");
    }
    let known = "Host: localhost\r\nOrigin: https://board.example\r\n";
    let (status, head, _) = request(&at, "OPTIONS", "/api/v1/services/web/stop", known);
    assert!(status == 204 && head.contains("access-control-allow-headers: authorization"), "{head}");
    let (status, head, _) = request(&at, "GET", "/api/v1/version", &format!("{known}{admin}"));
    assert!(status == 200 && head.contains("access-control-allow-origin: https://board.example"), "{head}");
    assert_eq!(request(&at, "GET", "/api/v1/version", known).0, 401, "a page needs a token too");
    assert_eq!(project.status("web")["state"], "ready");
}

#[test]
fn a_port_that_is_taken_keeps_nobody_from_the_socket_and_is_tried_again() {
    let port = free_port();
    let taken = TcpListener::bind(("127.0.0.1", port)).expect("it is free");
    let Some(project) = Project::new(&format!(
        "[orchestrator.api]\nlisten = \"127.0.0.1:{port}\"\n[services.web]\nstart_command = \"TEST_SERVICE\""
    )) else {
        return;
    };
    project.value("service start web");
    eventually("the reason is told", || {
        project.value("service daemon status")["listen"].as_str()?.contains("in use").then_some(())
    });
    drop(taken);
    assert_eq!(address(&project), format!("127.0.0.1:{port}"));
}

#[test]
fn an_address_of_the_network_needs_tls_unless_that_is_waived() {
    let file = |keys: &str| {
        format!(
            "[orchestrator.api]\nlisten = \"0.0.0.0:0\"\n{keys}\n[services.web]\nstart_command = \"TEST_SERVICE\""
        )
    };
    let Some(project) = Project::new(&file("")) else { return };
    let error = project.error("service status");
    let (code, message) = (error["code"].as_str(), error["msg"].as_str().expect("it is told"));
    assert!(code == Some("service::bad_definition") && message.contains("without `tls`"), "{error}");
    assert!(error["help"].as_str().is_some_and(|help| help.contains("insecure = true")), "{error}");
    project.define(&file("insecure = true"));
    project.value("service status");
    assert!(address(&project).starts_with("0.0.0.0:"));
}
