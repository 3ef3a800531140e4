//! Health: every kind of check, its results, and its effects.

use service_tests::{Project, ServiceTable, eventually, free_port, installed};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// Queries the health of `web` until it is `healthy`, and returns the row.
#[track_caller]
fn wait_for(project: &Project, healthy: bool) -> serde_json::Value {
    eventually("the health turns", || {
        let health = project.value("service health web");
        (health.row("web")["healthy"] == healthy).then(|| health.row("web").clone())
    })
}

#[test]
fn http_is_healthy_when_the_status_is_accepted() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        r#"
        [services.web]
        start_command = "TEST_SERVICE http {port} answer"
        health_check_endpoint = "http://127.0.0.1:{port}/health"
        health = {{ interval = "50ms", retries = 1 }}

        [services.choosy]
        start_command = "TEST_SERVICE"
        health_check_endpoint = "http://127.0.0.1:{port}/health"
        health = {{ status = [404], listener = "any" }}
        dependencies = ["web"]
        "#
    )) else {
        return;
    };
    project.write("answer", "204");
    project.value("service start web");
    let health = wait_for(&project, true);
    assert_eq!(health["kind"], "http");
    assert!(health["message"].as_str().unwrap().contains("204"), "{health}");
    assert!(health["latency"].as_i64().unwrap() > 0);

    project.write("answer", "500");
    assert!(wait_for(&project, false)["message"].as_str().unwrap().contains("500"));
    eventually("the status shows it", || (project.status("web")["health"] == "unhealthy").then_some(()));
    assert_eq!(project.status("web")["status"], "running", "unhealthy is reported, not restarted");

    project.write("answer", "404");
    project.value("service start choosy");
    assert_eq!(project.status("choosy")["health"], "healthy", "404 is what it asks for");
}

#[test]
fn a_server_of_one_thread_that_keeps_connections_answers_everybody_while_it_is_checked() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        r#"
        [services.web]
        start_command = "TEST_SERVICE keep {port}"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ interval = "5ms" }}
        "#
    )) else {
        return;
    };
    project.value("service start web");
    for _ in 0..20 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_read_timeout(Some(service_tests::WAIT_TIMEOUT)).expect("a socket takes a timeout");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is there");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"HTTP/1.1 204");
    }
    assert_eq!(project.status("web")["health"], "healthy");
}

#[test]
fn a_service_that_listens_no_more_is_unhealthy_whatever_connections_live_on() {
    let (port, other) = (free_port(), free_port());
    let Some(project) = Project::new(&format!(
        r#"
        [services.web]
        start_command = "TEST_SERVICE retire {port} retired listen {other}"
        health_check_endpoint = "http://localhost:{port}/"
        health = {{ interval = "20ms", retries = 1 }}
        "#
    )) else {
        return;
    };
    project.value("service start web");
    let kept = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    wait_for(&project, true);
    project.write("retired", "");
    let health = wait_for(&project, false);
    let message = health["message"].as_str().expect("it says why");
    assert_eq!(
        message,
        format!("connection refused at http://localhost:{port}/ (127.0.0.1, ::1); it listens on {other}")
    );
    eventually("the status shows it", || (project.status("web")["health"] == "unhealthy").then_some(()));
    drop(kept);
}

#[test]
fn of_the_addresses_of_a_name_the_one_where_the_service_listens_is_asked() {
    let Ok(silent) = TcpListener::bind("127.0.0.1:0") else { return };
    let port = silent.local_addr().expect("it is bound").port();
    if TcpListener::bind(("::1", port)).is_err() {
        return service_tests::skip("there is no IPv6");
    }
    let Some(project) = Project::new(&format!(
        r#"
        [services.web]
        start_command = "TEST_SERVICE http [::1]:{port} 204"
        health_check_endpoint = "http://app.localhost:{port}/"

        [services.elsewhere]
        start_command = "TEST_SERVICE listen {}"
        health_check_endpoint = "tcp://localhost:{port}"
        ready = {{ timeout = "500ms" }}
        restart = "no"
        "#,
        free_port()
    )) else {
        return;
    };
    // The other address belongs to another process, which accepts connections and never answers.
    project.value("service start web");
    assert_eq!(project.status("web")["health"], "healthy");
    project.value("service stop web");
    let error = project.error("service start elsewhere");
    let (pid, message) = (std::process::id(), error["msg"].as_str().unwrap_or_default());
    assert!(message.contains(&format!("port {port} is held by pid {pid} (")), "{message}");
    assert!(message.contains(&format!(" at 127.0.0.1:{port}, not by this service")), "{message}");
}

/// Creates a self-signed certificate, as developers do.
const CERTIFICATE: &str = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 \
    -keyout key.pem -out cert.pem -subj /CN=localhost";

#[test]
fn a_certificate_of_its_own_is_trusted_where_it_is_named_and_else_it_is_said_what_to_do() {
    if installed("openssl").is_none() {
        return service_tests::skip("there is no openssl");
    }
    let Some(project) = Project::new("") else { return };
    let made = Command::new("sh").args(["-c", CERTIFICATE]).current_dir(project.path(".")).output();
    let made = made.expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let service = |name: &str, health: &str| {
        let port = free_port();
        format!(
            "[services.{name}]\nstart_command = \"openssl s_server -quiet -www -accept 127.0.0.1:{port} -cert cert.pem \
             -key key.pem\"\nhealth_check_endpoint = \"https://localhost:{port}/\"\nrestart = \"no\"\nhealth = {{ {health} }}\n"
        )
    };
    project.define(&format!(
        "{}{}{}ready = {{ timeout = \"2s\" }}\n",
        service("named", "ca_file = \"cert.pem\""),
        service("anybody", "insecure = true"),
        service("unknown", "timeout = \"1s\""),
    ));
    project.value("service start named anybody");
    assert_eq!(project.value("service health named").row("named")["message"], "HTTP 200 OK");
    assert_eq!(project.status("anybody")["health"], "healthy");
    let error = project.error("service start unknown");
    let message = error["msg"].as_str().unwrap_or_default();
    assert!(message.contains("its certificate is self-signed"), "{message}");
    assert!(message.contains("`health.ca_file`") && !message.contains("Other("), "{message}");
}

#[test]
fn a_machine_without_certificates_fails_only_checks_that_need_them() {
    let (port, other) = (free_port(), free_port());
    let Some(project) = Project::new(&format!(
        r#"
        [services.web]
        start_command = "TEST_SERVICE http {port} '204 No Content'"
        health_check_endpoint = "http://127.0.0.1:{port}/"

        [services.safe]
        start_command = "TEST_SERVICE http {other} '204 No Content'"
        health_check_endpoint = "https://127.0.0.1:{other}/"
        ready = {{ timeout = "500ms" }}
        restart = "no"
        "#
    )) else {
        return;
    };
    let project = project.env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    project.value("service start web");
    assert_eq!(project.status("web")["health"], "healthy");
    let error = project.error("service start safe");
    assert!(error["msg"].as_str().unwrap().contains("certificates"), "{error}");
}

#[test]
fn a_redirect_to_another_host_is_not_followed() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        "[services.web]\nstart_command = \"TEST_SERVICE http {port} '302 Found\\r\\nLocation: http://127.0.0.2:{port}/'\"\n\
         health_check_endpoint = \"http://127.0.0.1:{port}/\"\nready = {{ timeout = \"500ms\" }}\nrestart = \"no\""
    )) else {
        return;
    };
    assert_eq!(project.error("service start web")["code"], "service::start_failed");
}

#[test]
fn an_unhealthy_service_is_restarted_where_that_is_asked_for() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        r#"
        [services.web]
        start_command = "TEST_SERVICE http {port} answer"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ interval = "50ms", retries = 2, on_failure = "restart" }}
        "#
    )) else {
        return;
    };
    project.write("answer", "200");
    project.value("service start web");
    let pid = project.pid("web");
    project.write("answer", "500");
    eventually("it is started anew", || {
        let status = project.status("web");
        (status["pid"].is_u64() && status["pid"] != pid).then_some(())
    });
    project.write("answer", "200");
    eventually("it is well again", || (project.status("web")["health"] == "healthy").then_some(()));
}

#[test]
fn tcp_is_healthy_when_somebody_accepts() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        "[services.web]\nstart_command = \"TEST_SERVICE wait 100 listen {port}\"\nhealth_check_endpoint = \"tcp://localhost:{port}\""
    )) else {
        return;
    };
    let idle = project.value("service health web").row("web").clone();
    assert!(idle["healthy"].is_null() && idle["kind"] == "tcp", "nobody wants it yet: {idle}");
    project.value("service start web");
    assert_eq!(wait_for(&project, true)["kind"], "tcp");
}

#[test]
fn unix_is_healthy_when_somebody_accepts() {
    let Some(project) = Project::new("") else { return };
    let socket = project.path("web.sock");
    project.define(&format!(
        "[services.web]\nstart_command = \"TEST_SERVICE wait 100 unix web.sock\"\nhealth_check_endpoint = \"unix://{}\"",
        socket.display()
    ));
    project.value("service start web");
    assert_eq!(wait_for(&project, true)["kind"], "unix");
}

#[test]
fn exec_is_healthy_when_the_command_succeeds() {
    let Some(project) = Project::new(
        r#"
        [services.web]
        start_command = "TEST_SERVICE wait 100 note well"
        health_check_endpoint = "exec:cat well"
        health = { interval = "50ms", retries = 1 }
        "#,
    ) else {
        return;
    };
    project.value("service start web");
    assert_eq!(wait_for(&project, true)["kind"], "exec");
    std::fs::remove_file(project.path("well")).unwrap();
    assert!(
        wait_for(&project, false)["message"].as_str().unwrap().contains("well"),
        "it tells what cat said"
    );
}

#[test]
fn an_exec_check_that_hangs_is_ended_with_its_children() {
    let Some(project) = Project::new(
        r#"
        [services.web]
        start_command = "TEST_SERVICE"
        health_check_endpoint = "exec:sh -c 'sleep 600 & sleep 600'"
        health = { timeout = "100ms" }
        ready = { timeout = "400ms" }
        restart = "no"
        "#,
    ) else {
        return;
    };
    project.error("service start web");
    let sleeping =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
    eventually("no sleep is left", || (!project.processes().iter().any(sleeping)).then_some(()));
}

#[test]
fn without_an_endpoint_the_process_itself_is_the_check() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"") else { return };
    project.value("service start web");
    let health = wait_for(&project, true);
    assert_eq!((&health["kind"], &health["endpoint"]), (&"process".into(), &serde_json::Value::Null));
    project.value("service stop web");
    let health = project.value("service health web").row("web").clone();
    assert!(health["healthy"].is_null() && health["kind"] == "process", "nobody wants it: {health}");
    assert_eq!(project.status("web")["health"], "none");
}

#[test]
fn dns_is_healthy_when_the_name_is_known() {
    let Some(dnsmasq) = installed("dnsmasq") else { return service_tests::skip("dnsmasq is not installed") };
    let (port, dnsmasq) = (free_port(), dnsmasq.display());
    let service = |name: &str, port: u16, host: &str| {
        format!(
            "[services.{name}]\nstart_command = \"{dnsmasq} --keep-in-foreground --log-facility=- --conf-file=/dev/null \
             --port={port} --listen-address=127.0.0.1 --bind-interfaces --no-resolv --no-hosts --pid-file= --user= \
             --host-record=known.test,127.0.0.1 --local=/test/\"\n\
             health_check_endpoint = \"dns://127.0.0.1:{port}/{host}\"\nready = {{ timeout = \"1s\" }}\nrestart = \"no\"\n"
        )
    };
    let Some(project) =
        Project::new(&(service("web", port, "known.test") + &service("wrong", free_port(), "unknown.test")))
    else {
        return;
    };
    project.value("service start web");
    let health = wait_for(&project, true);
    assert_eq!(health["kind"], "dns");
    assert_eq!(project.error("service start wrong")["code"], "service::start_failed");
}
