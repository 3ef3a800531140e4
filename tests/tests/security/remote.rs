//! Nushell on one machine, the daemon on another: over TCP with TLS, a token and a private authority.

use crate::address;
use service_tests::{Project, ServiceTable, installed, skip};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Creates an authority, and a certificate for `localhost` that it has signed.
const CERTIFICATE: &str = r#"
set -e
curve="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $curve -days 3 -keyout ca.key -out ca.pem -subj /CN=authority
openssl req $curve -keyout key.pem -out request.pem -subj /CN=localhost
echo subjectAltName=DNS:localhost > names
openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 3 -out cert.pem -extfile names
"#;

/// A project whose daemon uses TLS, and the lines that configure another shell for it.
fn there() -> Option<(Project, String)> {
    if installed("openssl").is_none() {
        skip("there is no openssl");
        return None;
    }
    let project = Project::new("")?;
    let made = Command::new("sh")
        .args(["-c", CERTIFICATE])
        .current_dir(project.path("."))
        .output()
        .expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    project.define(
        r#"
        [orchestrator.api]
        listen = "127.0.0.1:0"
        tls = { certificate = "cert.pem", key = "key.pem" }
        [services.far]
        start_command = "TEST_SERVICE say hello"
        [services.further]
        start_command = "TEST_SERVICE"
        dependencies = ["far"]
        "#,
    );
    project.value("service status");
    let at = address(&project).replace("127.0.0.1", "localhost");
    let (tokens, ca) = (project.state_dir().join("tokens/admin"), project.path("ca.pem"));
    let config = format!(
        "$env.config.plugins.service = {{ url: 'https://{at}' token_file: '{}' ca_file: '{}' }};",
        tokens.display(),
        ca.display()
    );
    Some((project, config))
}

#[test]
fn commands_reach_the_daemon_of_another_machine_and_start_none_here() {
    let (Some((far, to)), Some(here)) = (there(), Project::new("")) else { return };
    fs::remove_file(here.path("services.toml")).expect("it is ours");
    let value = |line: &str| here.value(&format!("{to} {line}"));
    let started = value("service start further");
    assert_eq!(
        (started.row("far")["ok"].as_bool(), started.row("further")["ok"].as_bool()),
        (Some(true), Some(true))
    );
    assert_eq!(value("service status").row("far")["pid"], far.pid("far"));
    assert_eq!(value("service logs far").column("line"), ["hello"]);
    assert_eq!(value("service wait far").column("name"), ["far"]);
    assert_eq!(value("service why far")["state"], "ready");
    assert_eq!(value("service list").column("name"), ["far", "further"]);
    assert_eq!(value("service order").column("name"), ["far", "further"]);
    assert!(
        value("service events | where service == far | length").as_u64().is_some_and(|events| events > 1)
    );
    assert_eq!(value("service events --follow --since 0 | first | get seq"), 1);
    assert_eq!(value("service run --name once --oneshot 'true'").row("once")["ok"], true);
    assert_eq!(value("service stop further").row("further")["ok"], true);
    assert_eq!(value("service daemon status")["pid"], far.daemon());
    assert_eq!(here.error(&format!("{to} service daemon restart"))["code"], "service::remote");
    assert_eq!(
        here.error(&format!("{to} service check"))["code"],
        "service::no_project",
        "check is of files here"
    );
    assert!(here.processes().is_empty(), "no daemon was started here");
}

#[test]
fn who_cannot_be_trusted_or_reached_is_told_with_the_way_out() {
    let (Some((far, to)), Some(here)) = (there(), Project::new("")) else { return };
    let error = |change: &str| here.error(&format!("{to} {change}; service status"));
    let says = |change: &str, code: &str, message: &str, help: &str| {
        let error = error(change);
        assert_eq!(error["code"], format!("service::{code}"), "{error}");
        assert!(error["msg"].as_str().is_some_and(|text| text.contains(message)), "{error}");
        assert!(error["help"].as_str().is_some_and(|text| text.contains(help)), "{error}");
    };
    let config = "$env.config.plugins.service";
    let file = |name: &str, text: &str| {
        let path = here.write(name, text);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
        path.display().to_string()
    };
    let wrong = file("wrong", &"0".repeat(64));
    says(&format!("{config}.token_file = '{wrong}'"), "unauthorized", "invalid token", "token_file");
    says(&format!("{config}.token_file = 'nowhere'"), "unauthorized", "cannot use the token", "copy");
    let open = file("open", "abc");
    fs::set_permissions(&open, Permissions::from_mode(0o644)).expect("it is ours");
    says(&format!("{config}.token_file = '{open}'"), "unauthorized", "others can read it", "chmod 600");
    says(&format!("{config}.ca_file = null"), "daemon_unreachable", "cannot trust", "ca_file");
    let by_number = format!("{config}.url = ({config}.url | str replace localhost 127.0.0.1)");
    says(&by_number, "daemon_unreachable", "cannot trust", "host name");
    let plain = format!("{config}.url = ({config}.url | str replace https http)");
    says(&plain, "daemon_unreachable", "the daemon ended", "https://");
    says(
        &format!("{config}.url = 'https://localhost:1'"),
        "daemon_unreachable",
        "cannot reach",
        "[orchestrator.api]",
    );
    says(
        &format!("{config}.url = 'https://localhost/x'"),
        "bad_request",
        "cannot use the URL",
        "without a path",
    );
    says(&format!("{config}.token_file = null"), "bad_request", "`token_file` is missing", "copy");
    says(
        &format!("{config} = ({config} | insert tokn x)"),
        "bad_request",
        "unknown key `tokn`",
        "token_file",
    );
    let read = far.state_dir().join("tokens/read");
    let line = format!("{to} {config}.token_file = '{}'; service stop far", read.display());
    assert_eq!(here.error(&line)["code"], "service::forbidden");
    assert!(here.processes().is_empty(), "no daemon was started here");
}

#[test]
fn a_file_that_is_named_is_one_of_this_machine() {
    let (Some((_far, to)), Some(here)) =
        (there(), Project::new("[services.near]\nstart_command = \"TEST_SERVICE\""))
    else {
        return;
    };
    assert_eq!(here.value(&format!("{to} service list --config services.toml")).column("name"), ["near"]);
    assert_eq!(here.value(&format!("{to} service check")).column("name"), Vec::<String>::new());
}

/// A listener that answers every request with `answer`, and records the requests.
fn listener(answer: &'static str) -> (String, std::sync::Arc<std::sync::Mutex<String>>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it has one").to_string();
    let heard = std::sync::Arc::<std::sync::Mutex<String>>::default();
    let notes = std::sync::Arc::clone(&heard);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).unwrap_or_default();
            notes.lock().expect("nobody panics").push_str(&String::from_utf8_lossy(&bytes[..length]));
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, heard)
}

#[test]
fn a_token_goes_to_no_proxy_and_no_redirect_is_followed() {
    let Some(far) = super::open_project("") else { return };
    let address = address(&far);
    let token_file = far.state_dir().join("tokens/admin");
    let token = super::token(&far, "admin");
    let (proxy, proxy_heard) = listener("HTTP/1.1 502 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let (elsewhere, elsewhere_heard) = listener(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{}",
    );
    let leads: &'static str = Box::leak(
        format!("HTTP/1.1 307 go\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .into_boxed_str(),
    );
    let (redirect, _) = listener(leads);
    let mut here = Project::new("").expect("there is a Nushell");
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        here = here.env(name, format!("http://{proxy}"));
    }
    let module = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../nu/service-http");
    for load in [String::new(), format!("use {} *; ", module.display())] {
        let to = |address: &str| {
            format!(
                "{load}$env.config.plugins.service = {{ url: 'http://{address}' token_file: '{}' }}; ",
                token_file.display()
            )
        };
        let rows = here.value(&format!("{}service status", to(&address)));
        assert_eq!(rows.column("name"), ["web"], "{load}");
        here.value(&format!("{}service restart web", to(&address)));
        for command in ["service status", "service stop web", "service logs web"] {
            let error = here.error(&format!("{}{command}", to(&redirect)));
            assert_eq!(error["code"], "service::daemon_unreachable", "{error}");
            assert!(error["msg"].as_str().is_some_and(|said| said.contains("a redirect (307")), "{error}");
        }
    }
    for heard in [proxy_heard, elsewhere_heard] {
        let heard = heard.lock().expect("nobody panics");
        assert!(heard.is_empty() && !heard.contains(&token), "{heard}");
    }
}

#[test]
fn a_key_that_others_can_read_opens_no_door() {
    let Some((far, _)) = there() else { return };
    fs::set_permissions(far.path("key.pem"), Permissions::from_mode(0o644)).expect("it is ours");
    far.value("service daemon restart");
    let told = service_tests::eventually("it is told why", || {
        let listen = far.value("service daemon status")["listen"].as_str()?.to_owned();
        (!listen.contains("://")).then_some(listen)
    });
    assert!(told.contains("others can read it") && told.contains("chmod 600"), "{told}");
}
