//! Names and paths that lead out of the state directory.

use service_tests::{Project, http};
use std::fs;

#[test]
fn no_name_leads_out_of_the_state_directory() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"") else { return };
    project.value("service start web");
    let (socket, state) = (project.socket(), project.state_dir());
    let outside = project.write("state/service-orchestrator/outside/log", "not for you");
    fs::write(state.join("log"), "not for you").expect("it is ours");
    let long = "x".repeat(5000);
    for name in [
        "..",
        ".",
        "../..",
        "..%2f..",
        "%2e%2e",
        "..%2foutside",
        "a%00b",
        "web%00",
        "%2fetc%2fpasswd",
        "a%5cb",
        "-x",
        ".web",
        &long,
    ] {
        for what in ["", "/logs", "/status", "/why", "/health"] {
            let (status, answer) = http(&socket, "GET", &format!("/api/v1/services/{name}{what}"));
            assert!([400, 404, 405].contains(&status), "{name}{what}: {status} {answer}");
            assert!(!answer.to_string().contains("not for you"), "{answer}");
        }
        let (status, answer) = http(&socket, "POST", &format!("/api/v1/services/{name}/start"));
        assert!([400, 404, 405].contains(&status), "{name}: {status} {answer}");
    }
    for name in
        ["'../x'", "'a/b'", "'..'", "\"a\\u{0}b\"", "('x' | fill --width 65 --character x)", "''", "'a b'"]
    {
        let error = project.error(&format!("[{{name: ({name}) start_command: 'true'}}] | service add"));
        assert!(error["code"].as_str().is_some_and(|code| code.starts_with("service::")), "{name}: {error}");
    }
    project.define("[services.\"../x\"]\nstart_command = \"TEST_SERVICE\"");
    assert_eq!(project.error("service list")["code"], "service::bad_definition");
    project.define("[services.web]\nstart_command = \"TEST_SERVICE\"");
    let inside: Vec<_> = fs::read_dir(state.join("run"))
        .expect("it is there")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(inside, ["web"]);
    assert_eq!(fs::read_to_string(outside).expect("it is untouched"), "not for you");
}

#[test]
fn a_link_in_place_of_a_services_directory_is_removed_and_not_what_it_leads_to() {
    let Some(project) = Project::new("") else { return };
    project.value("[{name: tunnel start_command: 'sleep 60'}] | service add");
    project.value("service start tunnel");
    project.value("service stop tunnel");
    let precious = project.write("elsewhere/precious", "keep me");
    let [directory, run] = ["services/tunnel", "run/tunnel"].map(|path| project.state_dir().join(path));
    fs::remove_dir_all(&run).expect("it is ours");
    for link in [directory, run] {
        std::os::unix::fs::symlink(project.path("elsewhere"), &link).expect("it is ours");
    }
    drop(project.nu("service remove tunnel"));
    assert_eq!(fs::read_to_string(precious).expect("it is still there"), "keep me");
}

#[test]
fn a_state_directory_behind_a_link_of_ones_own_is_used_and_stays_private() {
    use std::os::unix::fs::PermissionsExt;
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE say hello\"") else {
        return;
    };
    fs::create_dir(project.path("real")).expect("it is ours");
    fs::remove_dir(project.path("state")).expect("it is empty");
    std::os::unix::fs::symlink(project.path("real"), project.path("state")).expect("it is ours");
    project.value("service start web");
    let state = project.state_dir();
    let mode = fs::metadata(&state).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    let log = project.status("web")["log"].as_str().expect("it has a log").to_owned();
    assert!(
        fs::canonicalize(log)
            .expect("it is there")
            .starts_with(project.path("real").canonicalize().expect("it is there"))
    );
}
