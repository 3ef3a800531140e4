//! The daemon matches its OpenAPI document: schemathesis sends the requests that the document allows, and many that it
//! does not, and validates each response.

use service_tests::{Project, Relay, ServiceTable, http, post, python_program, skip};
use std::path::Path;

const SERVICES: &str = r#"
    [services.database]
    start_command = "TEST_SERVICE"

    [services.web-app]
    start_command = "TEST_SERVICE say hello"
    dependencies = ["database"]
"#;

#[test]
fn every_answer_is_one_that_the_document_describes() {
    let Some(schemathesis) = python_program("schemathesis") else {
        return skip("there is no schemathesis: pip install -r tests/requirements.txt");
    };
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start web-app");
    let relay = Relay::to(&project.socket());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis/schemathesis.toml");
    let mut command = project.command(&schemathesis);
    command.arg("--config-file").arg(&config).arg("run").arg(format!("{}/api/v1/openapi.json", relay.url()));
    let said = command.args(["--no-color", "--continue-on-failure"]).output().expect("it can be run");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
    let number =
        |of: &str| text.split(of).nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok();
    assert!(number("Selected: ") >= Some(28), "it has read the document: {text}");
    assert_eq!(number("Tested: "), number("Selected: "), "it has asked for everything: {text}");
    assert_eq!(project.value("service start web-app").row("web-app")["ok"], true, "it still works");
}

#[test]
fn to_remove_all_where_nothing_was_added_is_answered_with_no_rows() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start database");
    let (status, answer) = post(&project.socket(), "/api/v1/services/remove", r#"{"all": true}"#);
    assert_eq!((status, &answer["data"]), (200, &serde_json::json!([])), "{answer}");
}

#[test]
fn a_list_is_no_body_and_a_whole_number_may_be_written_as_a_float() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start database");
    let stop = |body| post(&project.socket(), "/api/v1/services/database/stop", body).0;
    assert_eq!(stop("[]"), 400);
    let (status, answer) = post(&project.socket(), "/api/v1/services/stop", "null");
    let told = "the body is not an action request: it should be a record, `{ ... }`";
    assert_eq!((status, &answer["error"]["message"]), (400, &told.into()));
    assert_eq!(stop(r#"{"timeout_ms": 9007199254740992}"#), 400);
    assert_eq!(stop(r#"{"timeout_ms": 1.5}"#), 400);
    assert_eq!(stop(r#"{"timeout_ms": 30000.0}"#), 200);
}

#[test]
fn a_method_that_a_route_does_not_have_is_refused_with_those_that_it_has() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start database");
    let socket = project.socket();
    let answer = service_tests::request(&socket, "DELETE", "/api/v1/services/list").expect("it answers");
    assert!(
        answer.starts_with("HTTP/1.1 405") && answer.to_lowercase().contains("allow: get,head"),
        "{answer}"
    );
    let (status, answer) = http(&socket, "GET", "/api/v1/services/%FF");
    assert_eq!((status, &answer["error"]["code"]), (400, &"bad_request".into()), "{answer}");
    let (status, answer) = http(&socket, "GET", "/api/v1/logs?tail=99999999999999999999");
    assert_eq!((status, &answer["error"]["code"]), (400, &"bad_request".into()), "{answer}");
}
