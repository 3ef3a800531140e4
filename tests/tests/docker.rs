//! The manager `docker`, against a real docker engine.

use service_tests::{Answer, Docker, Project, ServiceTable, eventually, free_port};

/// Looked at often, and ended without much ado.
fn services(text: &str) -> Option<Docker> {
    let defaults = "[orchestrator.service_defaults]\nstop_timeout = \"1s\"\n\
                    [orchestrator.service_defaults.health]\ninterval = \"300ms\"\n";
    Docker::of(Project::new(&format!("{defaults}{text}"))?)
}

#[test]
fn a_container_is_started_seen_labelled_kept_and_stopped() {
    let port = free_port();
    let Some(project) = services(&format!(
        r#"
        [services.web]
        manager = "docker"
        image = "localhost/box"
        start_command = "/bin/httpd -f -p {port} -h /srv"
        networks = "host"
        volumes = "./site:/srv:ro"
        memory_limit = "64MB"
        "#
    )) else {
        return;
    };
    project.write("site/index.html", "hello");
    assert_eq!(project.value("service managers").row("docker")["present"], true);
    assert_eq!(project.value("service start web").row("web")["health"], "healthy");
    eventually("it serves its volume", || {
        let page = project.nu(&format!("http get http://127.0.0.1:{port}/index.html"));
        (page.stdout.trim() == "hello").then_some(())
    });
    let status = project.status("web");
    assert_eq!(status["pid"].to_string(), project.inspect("web", "{{.State.Pid}}"));
    let id = project.inspect("web", "{{.Id}}");
    assert!(id.starts_with(status["id"].as_str().unwrap()), "{status}");
    assert_eq!(project.inspect("web", "{{.HostConfig.Memory}}"), "64000000");
    let label = project.inspect("web", "{{index .Config.Labels \"service-orchestrator.project\"}}");
    assert_eq!(label, project.path("services.toml").canonicalize().unwrap().to_str().unwrap());
    project.value("service restart web");
    assert_eq!(project.inspect("web", "{{.Id}}"), id, "the same definition, the same container");
    project.value("service stop web");
    assert_eq!(project.inspect("web", "{{.State.Status}}"), "exited");
    assert_eq!(project.status("web")["status"], "stopped");
}

#[test]
fn an_environment_an_exit_code_and_both_streams_arrive() {
    let Some(project) = services(
        r#"
        [services.job]
        manager = "docker"
        image = "localhost/box"
        networks = "none"
        start_command = ["/bin/sh", "-c", 'echo "$(printf "%s|" "$PLAIN" "$QUOTED" "$VERSE")"; echo err >&2; exit 7']
        env = { PLAIN = "  a  b # c ", QUOTED = "{\"it's\": `x`}", VERSE = "one\ntwo" }
        restart = "no"
        "#,
    ) else {
        return;
    };
    project.nu("try { service start job }");
    eventually("it has failed", || (project.status("job")["state"] == "failed").then_some(()));
    assert_eq!(project.status("job")["exit_code"], 7);
    let lines = project.value("service logs job | where stream == stdout | get line");
    assert_eq!(lines, serde_json::json!([r#"  a  b # c |{"it's": `x`}|one"#, "two|"]));
    assert_eq!(
        project.value("service logs job | where stream == stderr | get line"),
        serde_json::json!(["err"])
    );
}

#[test]
fn a_container_that_is_killed_or_removed_by_hand_comes_back() {
    let Some(project) = services(
        r#"
        [services.web]
        manager = "docker"
        image = "localhost/box"
        networks = "none"
        start_command = "/bin/sleep 600"
        "#,
    ) else {
        return;
    };
    project.value("service start web");
    let first = project.inspect("web", "{{.Id}}");
    project.docker(&["kill", &first]);
    let up = |restarts: u64| {
        eventually("it is up again", || {
            let status = project.status("web");
            (status["state"] == "ready" && status["restarts"] == restarts && status["pid"].is_number())
                .then_some(())
        });
    };
    up(1);
    project.docker(&["rm", "--force", &first]);
    up(2);
    assert_ne!(project.inspect("web", "{{.Id}}"), first);
}

#[test]
fn the_check_of_a_container_is_dockers_own() {
    let Some(project) = services(
        r#"
        [services.web]
        manager = "docker"
        image = "localhost/box"
        networks = "none"
        start_command = "/bin/sleep 600"
        volumes = "./flags:/flags"
        with = { options = ["--health-cmd=/bin/cat /flags/well", "--health-interval=1s", "--health-retries=1"] }
        "#,
    ) else {
        return;
    };
    project.write("flags/well", "");
    project.value("service start web");
    assert_eq!(project.status("web")["health"], "healthy");
    std::fs::remove_file(project.path("flags/well")).unwrap();
    eventually("it is unhealthy", || (project.status("web")["health"] == "unhealthy").then_some(()));
}

#[test]
fn the_lines_of_a_container_are_followed_over_its_restart() {
    let Some(project) = services(
        r#"
        [services.web]
        manager = "docker"
        image = "localhost/box"
        networks = "none"
        start_command = ["/bin/sh", "-c", "trap end=1 TERM; i=$(cat /n/n); until test $end; do i=$((i+1)); echo $i > /n/n; echo $i; sleep 0.02; done"]
        volumes = "./n:/n"
        "#,
    ) else {
        return;
    };
    project.write("n/n", "0");
    project.value("service start web");
    let following =
        project.spawn("service logs web --follow --tail 1000 | get line | first 300 | to json --raw");
    project.value("service restart web");
    let told = Answer::of(following).value();
    let expected: Vec<String> = (1..=300).map(|number| number.to_string()).collect();
    assert_eq!(told, serde_json::json!(expected));
    assert!(project.value("service logs web --since 1hr | length").as_u64() >= Some(300));
}

#[test]
fn an_image_that_cannot_be_had_fails_the_start_with_a_way_out() {
    let Some(project) = services(
        "[services.web]\nmanager = \"docker\"\nimage = \"localhost/nothing\"\nnetworks = \"none\"\nrestart = \"no\"\npull = \"never\"",
    ) else {
        return;
    };
    let error = project.error("service start web");
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains("docker pull localhost/nothing"), "{error:#}");
}
