//! The managers of containers, against a real podman.

use nix::sys::signal::Signal;
use serde_json::Value;
use service_tests::{Answer, Podman, Project, ServiceTable, eventually, free_port, signal};

/// Looked at often, and ended without much ado.
fn services(text: &str) -> Option<Podman> {
    let defaults = "[orchestrator.service_defaults]\nstop_timeout = \"1s\"\n\
                    [orchestrator.service_defaults.health]\ninterval = \"300ms\"\n";
    Podman::of(Project::new(&format!("{defaults}{text}"))?)
}

const SLEEPER: &str = r#"
    [services.web]
    manager = "podman"
    image = "localhost/box"
    start_command = "/bin/sh -c 'trap \"exit 0\" TERM; while :; do sleep 0.1; done'"
"#;

#[test]
fn a_container_serves_its_port_from_its_volume_and_is_labelled() {
    let port = free_port();
    let Some(project) = services(&format!(
        r#"
        [services.web]
        manager = "podman"
        image = "localhost/box"
        start_command = "/bin/httpd -f -p 80 -h /srv"
        ports = "127.0.0.1:{port}:80"
        volumes = "./site:/srv:ro"
        "#
    )) else {
        return;
    };
    project.write("site/index.html", "hello");
    project.write("site/.hidden", "");
    assert_eq!(project.value("service start web").row("web")["health"], "healthy");
    let page = project.nu(&format!("http get http://127.0.0.1:{port}/index.html"));
    assert_eq!(page.stdout.trim(), "hello", "{page:?}");
    let status = project.status("web");
    assert_eq!(status["pid"].to_string(), project.inspect("web", "{{.State.Pid}}"));
    assert!(project.inspect("web", "{{.Id}}").starts_with(status["id"].as_str().unwrap()), "{status}");
    let label = project.inspect("web", "{{index .Config.Labels \"service-orchestrator.project\"}}");
    assert_eq!(label, project.path("services.toml").canonicalize().unwrap().to_str().unwrap());
    let health = project.value("service health web");
    assert!(health.row("web")["message"].as_str().unwrap().contains(&port.to_string()), "{health}");
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
    assert_eq!(project.inspect("web", "{{.State.Status}}"), "exited");
}

#[test]
fn an_environment_arrives_to_the_letter_and_is_in_no_command_line() {
    let Some(project) = services(
        r#"
        [services.job]
        manager = "podman"
        image = "localhost/box"
        # In one write: podman 4.3 joins lines of which it has got a part first.
        start_command = ["/bin/sh", "-c", 'echo "$(printf "%s|" "$PLAIN" "$QUOTED" "$VERSE" "$HOME")"']
        env = { PLAIN = "  a  b # c ", QUOTED = "{\"it's\": `x`}", VERSE = "one\ntwo", HOME = "/nowhere" }
        oneshot = true
        "#,
    ) else {
        return;
    };
    project.value("service start job");
    assert_eq!(project.status("job")["state"], "completed");
    let lines = project.value("service logs job | get line");
    assert_eq!(lines, serde_json::json!([r#"  a  b # c |{"it's": `x`}|one"#, "two|/nowhere|"]));
    let command = project.inspect("job", "{{json .Config.CreateCommand}}");
    assert!(!command.contains("a  b") && command.contains("--env=VERSE"), "{command}");
}

#[test]
fn a_container_that_is_removed_by_hand_is_noticed_and_comes_back() {
    let Some(project) = services(SLEEPER) else { return };
    project.value("service start web");
    let before = project.inspect("web", "{{.Id}}");
    project.podman(&["rm", "--force", "--time", "0", &before]);
    eventually("another container runs", || {
        let status = project.status("web");
        let id = status["id"].as_str().unwrap_or_default();
        (status["state"] == "ready" && !id.is_empty() && !before.starts_with(id)).then_some(())
    });
    assert_eq!(project.status("web")["restarts"], 1);
    project.podman(&["stop", "--time", "1", &project.inspect("web", "{{.Id}}")]);
    eventually("one that ended with code 0 rests", || {
        (project.status("web")["state"] == "completed").then_some(())
    });
}

#[test]
fn a_container_that_is_started_by_hand_is_seen() {
    let Some(project) = services(SLEEPER) else { return };
    project.value("service start web");
    let id = project.inspect("web", "{{.Id}}");
    project.value("service stop web");
    assert_eq!(project.status("web")["state"], "stopped");
    project.podman(&["start", &id]);
    let status =
        eventually("it is seen", || Some(project.status("web")).filter(|status| status["state"] == "ready"));
    assert_eq!(status["pid"].to_string(), project.inspect("web", "{{.State.Pid}}"), "{status}");
    project.value("service stop web");
    assert_eq!(project.inspect("web", "{{.State.Status}}"), "exited");
}

#[test]
fn an_exit_code_and_the_last_lines_are_told() {
    let Some(project) = services(
        r#"
        [services.web]
        manager = "podman"
        image = "localhost/box"
        start_command = ["/bin/sh", "-c", "echo out; echo err >&2; sleep 0.2; exit 7"]
        restart = "no"
        "#,
    ) else {
        return;
    };
    project.nu("try { service start web }");
    eventually("it has failed", || (project.status("web")["state"] == "failed").then_some(()));
    assert_eq!(project.status("web")["exit_code"], 7);
    let lines = project.value("service logs web | sort-by stream | select stream line");
    assert_eq!(
        lines,
        serde_json::json!([{"stream": "stderr", "line": "err"}, {"stream": "stdout", "line": "out"}])
    );
}

/// An engine says 137 of what SIGKILL ended and of what exited with 137: which it was nobody knows.
#[test]
fn of_a_container_that_a_signal_ended_the_code_is_told_and_no_signal_is_guessed() {
    let Some(project) = services(&format!("{SLEEPER}restart = \"no\"")) else { return };
    project.value("service start web");
    signal(project.pid("web"), Signal::SIGKILL);
    let status =
        eventually("its end is seen", || Some(project.status("web")).filter(|row| row["state"] == "failed"));
    assert_eq!((&status["exit_code"], &status["exit_signal"]), (&137.into(), &Value::Null), "{status}");
}

#[test]
fn what_a_container_has_written_outlives_a_restart_but_not_another_definition() {
    let Some(project) = services(SLEEPER) else { return };
    project.value("service start web");
    let first = project.inspect("web", "{{.Id}}");
    project.value("service restart web");
    assert_eq!(project.inspect("web", "{{.Id}}"), first);
    let defined = project.read("services.toml");
    project.define(&format!("{defined}\nenv = {{ NEW = \"1\" }}"));
    let plan = project.value("service plan");
    assert_eq!((&plan[0]["change"], &plan[0]["because"]), (&"restart".into(), &"env".into()), "{plan}");
    project.value("service apply");
    assert_ne!(project.inspect("web", "{{.Id}}"), first);
}

#[test]
fn a_check_of_the_container_decides_about_ready_and_health() {
    let Some(project) = services(
        r#"
        [services.web]
        manager = "podman"
        image = "localhost/box"
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
    assert!(project.status("web")["reason"].as_str().unwrap().contains("unhealthy"));
    project.write("flags/well", "");
    eventually("it is healthy again", || (project.status("web")["health"] == "healthy").then_some(()));
}

#[test]
fn a_network_is_made_once_for_all_who_name_it() {
    let two = ["a", "b"]
        .map(|name| SLEEPER.replace("services.web", &format!("services.{name}")) + "networks = \"NET\"\n");
    let Some(project) = services(&two.concat().replace("NET", &format!("net{}", free_port()))) else {
        return;
    };
    let started = project.value("service start --all");
    assert_eq!(started.column("ok"), ["true", "true"], "{started}");
    let networks =
        project.podman(&["network", "ls", "--quiet", "--filter=label=service-orchestrator.project"]);
    assert_eq!(String::from_utf8_lossy(&networks.stdout).lines().count(), 1, "{networks:?}");
    let both = ["a", "b"].map(|name| project.inspect(name, "{{json .NetworkSettings.Networks}}"));
    assert!(both.iter().all(|networks| networks.contains("10.")), "{both:?}");
}

#[test]
fn an_image_that_cannot_be_had_fails_the_start_with_a_way_out() {
    let Some(project) = services(
        "[services.web]\nmanager = \"podman\"\nimage = \"localhost/nowhere\"\npull = \"never\"\nrestart = \"no\"",
    ) else {
        return;
    };
    let error = project.error("service start web");
    assert!(error["msg"].as_str().unwrap().contains("cannot start `web`"), "{error:#}");
    assert!(error["msg"].as_str().unwrap().contains("podman pull localhost/nowhere"), "{error:#}");
    let left = project.podman(&["ps", "--all", "--quiet"]);
    assert!(left.stdout.is_empty(), "{left:?}");
}

#[test]
fn a_project_with_containers_is_listed_when_its_daemon_has_gone() {
    let Some(project) = services(SLEEPER) else { return };
    project.value("service start web");
    project.nu("service daemon stop");
    let rows = project.value("service projects");
    assert_eq!((&rows[0]["daemon"], &rows[0]["up"]), (&"none".into(), &1.into()), "{rows}");
    let id = project.inspect("web", "{{.Id}} {{.State.Pid}}");
    eventually("the next daemon has taken it over", || {
        (project.status("web")["state"] == "ready").then_some(())
    });
    assert_eq!(project.inspect("web", "{{.Id}} {{.State.Pid}}"), id, "it was not disturbed");
    project.nu("service daemon stop --services");
    assert_eq!(project.value("service projects"), serde_json::json!([]));
}

#[test]
fn the_lines_of_a_container_are_followed_over_its_restart() {
    // It ends between two numbers: one that is noted has been said.
    let Some(project) = services(
        r#"
        [services.web]
        manager = "podman"
        image = "localhost/box"
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
    let lately = project.value("service logs web --since 1hr | length");
    assert!(lately.as_u64() >= Some(300), "{lately}");
}

/// podman in the place of docker: the words are the same, the engine is not.
#[test]
fn docker_is_asked_in_words_that_both_engines_know() {
    let Some(project) = services(&SLEEPER.replace("podman", "docker")) else { return };
    project.value("service start web");
    assert_eq!(project.status("web")["health"], "healthy");
    let managers = project.value("service managers");
    assert_eq!(managers.row("docker")["present"], true, "{managers}");
    assert!(managers.row("podman")["version"].as_str().unwrap().contains('.'), "{managers}");
    project.value("service stop web");
    assert_eq!(project.status("web")["status"], "stopped");
}
