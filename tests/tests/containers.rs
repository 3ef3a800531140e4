//! The managers `docker` and `podman`, against real container engines. The suite runs with both; tests of one engine follow.

// A failing test panics, also in the functions that run with each engine.
#![allow(clippy::unwrap_used)]

use nix::sys::signal::Signal;
use serde_json::Value;
use service_tests::{
    Answer, ContainerEngine, Containers, Project, ServiceTable, eventually, free_port, signal,
};

/// Frequent checks, and a short stop timeout.
const DEFAULTS: &str = "[orchestrator.service_defaults]\nstop_timeout = \"1s\"\n\
                        [orchestrator.service_defaults.health]\ninterval = \"300ms\"\n";

/// Services of this engine; `ENGINE` in the text is its name.
fn services(engine: ContainerEngine, text: &str) -> Option<Containers> {
    let text = text.replace("ENGINE", engine.as_str());
    Containers::new(engine, Project::new(&format!("{DEFAULTS}{text}"))?)
}

/// Runs each test with both engines.
macro_rules! with_both_engines {
    ($($test:ident),+ $(,)?) => {
        mod docker {
            $(#[test]
            fn $test() {
                super::$test(service_tests::ContainerEngine::Docker);
            })+
        }
        mod podman {
            $(#[test]
            fn $test() {
                super::$test(service_tests::ContainerEngine::Podman);
            })+
        }
    };
}

with_both_engines! {
    a_container_is_started_labelled_kept_and_stopped,
    an_environment_an_exit_code_and_both_streams_arrive,
    a_container_that_is_killed_or_removed_by_hand_comes_back,
    a_check_of_the_container_decides_about_ready_and_health,
    the_lines_of_a_container_are_followed_over_its_restart,
    an_image_that_cannot_be_had_fails_the_start_with_a_way_out,
}

/// A container that ends with code 0 on SIGTERM.
const SLEEPER: &str = r#"
    [services.web]
    manager = "ENGINE"
    image = "localhost/box"
    start_command = "/bin/sh -c 'trap \"exit 0\" TERM; while :; do sleep 0.1; done'"
"#;

fn a_container_is_started_labelled_kept_and_stopped(engine: ContainerEngine) {
    let port = free_port();
    let Some(project) = services(
        engine,
        &format!(
            r#"
            [services.web]
            manager = "ENGINE"
            image = "localhost/box"
            start_command = "/bin/httpd -f -p {port} -h /srv"
            networks = "host"
            volumes = "./site:/srv:ro"
            memory_limit = "64MB"
            "#
        ),
    ) else {
        return;
    };
    project.write("site/index.html", "hello");
    assert_eq!(project.value("service managers").row(engine.as_str())["present"], true);
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

fn an_environment_an_exit_code_and_both_streams_arrive(engine: ContainerEngine) {
    let Some(project) = services(
        engine,
        r#"
        [services.job]
        manager = "ENGINE"
        image = "localhost/box"
        networks = "none"
        # In one write: podman 4.3 joins lines of which it has got a part first.
        start_command = ["/bin/sh", "-c", 'echo "$(printf "%s|" "$PLAIN" "$QUOTED" "$VERSE" "$HOME")"; echo err >&2; sleep 0.2; exit 7']
        env = { PLAIN = "  a  b # c ", QUOTED = "{\"it's\": `x`}", VERSE = "one\ntwo", HOME = "/nowhere" }
        restart = "no"
        "#,
    ) else {
        return;
    };
    project.nu("try { service start job }");
    eventually("it has failed", || (project.status("job")["state"] == "failed").then_some(()));
    assert_eq!(project.status("job")["exit_code"], 7);
    let lines = project.value("service logs job | where stream == stdout | get line");
    assert_eq!(lines, serde_json::json!([r#"  a  b # c |{"it's": `x`}|one"#, "two|/nowhere|"]));
    assert_eq!(
        project.value("service logs job | where stream == stderr | get line"),
        serde_json::json!(["err"])
    );
}

fn a_container_that_is_killed_or_removed_by_hand_comes_back(engine: ContainerEngine) {
    let Some(project) = services(engine, &format!("{SLEEPER}networks = \"none\"\n")) else { return };
    project.value("service start web");
    let first = project.inspect("web", "{{.Id}}");
    project.run(&["kill", &first]);
    let up = |restarts: u64| {
        eventually("it is up again", || {
            let status = project.status("web");
            (status["state"] == "ready" && status["restarts"] == restarts && status["pid"].is_number())
                .then_some(())
        });
    };
    up(1);
    project.run(&["rm", "--force", &first]);
    up(2);
    assert_ne!(project.inspect("web", "{{.Id}}"), first);
}

fn a_check_of_the_container_decides_about_ready_and_health(engine: ContainerEngine) {
    let Some(project) = services(
        engine,
        r#"
        [services.web]
        manager = "ENGINE"
        image = "localhost/box"
        start_command = "/bin/sleep 600"
        networks = "none"
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

fn the_lines_of_a_container_are_followed_over_its_restart(engine: ContainerEngine) {
    // The container ends between two numbers, so that each recorded number has been printed.
    let Some(project) = services(
        engine,
        r#"
        [services.web]
        manager = "ENGINE"
        image = "localhost/box"
        start_command = ["/bin/sh", "-c", "trap end=1 TERM; i=$(cat /n/n); until test $end; do i=$((i+1)); echo $i > /n/n; echo $i; sleep 0.02; done"]
        volumes = "./n:/n"
        networks = "none"
        "#,
    ) else {
        return;
    };
    project.write("n/n", "0");
    project.value("service start web");
    let following =
        project.spawn("service logs web --follow --tail 1000 | get line | first 300 | to json --raw");
    project.value("service restart web");
    let told = Answer::wait_for(following).value();
    let expected: Vec<String> = (1..=300).map(|number| number.to_string()).collect();
    assert_eq!(told, serde_json::json!(expected));
    let lately = project.value("service logs web --since 1hr | length");
    assert!(lately.as_u64() >= Some(300), "{lately}");
}

fn an_image_that_cannot_be_had_fails_the_start_with_a_way_out(engine: ContainerEngine) {
    let Some(project) = services(
        engine,
        "[services.web]\nmanager = \"ENGINE\"\nimage = \"localhost/nowhere\"\nnetworks = \"none\"\npull = \"never\"\nrestart = \"no\"",
    ) else {
        return;
    };
    let error = project.error("service start web");
    assert!(error["msg"].as_str().unwrap().contains("cannot start `web`"), "{error:#}");
    assert!(
        error["msg"].as_str().unwrap().contains(&format!("{} pull localhost/nowhere", engine.as_str())),
        "{error:#}"
    );
    let left = project.run(&["ps", "--all", "--quiet"]);
    assert!(left.stdout.is_empty(), "{left:?}");
}

#[test]
fn a_container_serves_its_port_from_its_volume_and_is_labelled() {
    let port = free_port();
    let Some(project) = services(
        ContainerEngine::Podman,
        &format!(
            r#"
        [services.web]
        manager = "podman"
        image = "localhost/box"
        start_command = "/bin/httpd -f -p 80 -h /srv"
        ports = "127.0.0.1:{port}:80"
        volumes = "./site:/srv:ro"
        "#
        ),
    ) else {
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
fn an_environment_is_in_no_command_line() {
    let Some(project) = services(
        ContainerEngine::Podman,
        r#"
        [services.job]
        manager = "podman"
        image = "localhost/box"
        start_command = "/bin/true"
        env = { PLAIN = "  a  b # c ", VERSE = "one\ntwo" }
        oneshot = true
        "#,
    ) else {
        return;
    };
    project.value("service start job");
    assert_eq!(project.status("job")["state"], "completed");
    let command = project.inspect("job", "{{json .Config.CreateCommand}}");
    assert!(!command.contains("a  b") && command.contains("--env=VERSE"), "{command}");
}

#[test]
fn a_container_that_is_stopped_by_hand_with_code_0_is_completed() {
    let Some(project) = services(ContainerEngine::Podman, SLEEPER) else { return };
    project.value("service start web");
    project.run(&["stop", "--time", "1", &project.inspect("web", "{{.Id}}")]);
    eventually("it is completed", || (project.status("web")["state"] == "completed").then_some(()));
}

#[test]
fn a_container_that_is_started_by_hand_is_seen() {
    let Some(project) = services(ContainerEngine::Podman, SLEEPER) else { return };
    project.value("service start web");
    let id = project.inspect("web", "{{.Id}}");
    project.value("service stop web");
    assert_eq!(project.status("web")["state"], "stopped");
    project.run(&["start", &id]);
    let status =
        eventually("it is seen", || Some(project.status("web")).filter(|status| status["state"] == "ready"));
    assert_eq!(status["pid"].to_string(), project.inspect("web", "{{.State.Pid}}"), "{status}");
    project.value("service stop web");
    assert_eq!(project.inspect("web", "{{.State.Status}}"), "exited");
}

/// An engine reports 137 both after SIGKILL and for the exit code 137, so the two cannot be distinguished.
#[test]
fn of_a_container_that_a_signal_ended_the_code_is_told_and_no_signal_is_guessed() {
    let Some(project) = services(ContainerEngine::Podman, &format!("{SLEEPER}restart = \"no\"")) else {
        return;
    };
    project.value("service start web");
    signal(project.pid("web"), Signal::SIGKILL);
    let status =
        eventually("its end is seen", || Some(project.status("web")).filter(|row| row["state"] == "failed"));
    assert_eq!((&status["exit_code"], &status["exit_signal"]), (&137.into(), &Value::Null), "{status}");
}

#[test]
fn what_a_container_has_written_outlives_a_restart_but_not_another_definition() {
    let Some(project) = services(ContainerEngine::Podman, SLEEPER) else { return };
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
fn a_network_is_made_once_for_all_who_name_it() {
    let two = ["a", "b"]
        .map(|name| SLEEPER.replace("services.web", &format!("services.{name}")) + "networks = \"NET\"\n");
    let Some(project) =
        services(ContainerEngine::Podman, &two.concat().replace("NET", &format!("net{}", free_port())))
    else {
        return;
    };
    let started = project.value("service start --all");
    assert_eq!(started.column("ok"), ["true", "true"], "{started}");
    let networks = project.run(&["network", "ls", "--quiet", "--filter=label=service-orchestrator.project"]);
    assert_eq!(String::from_utf8_lossy(&networks.stdout).lines().count(), 1, "{networks:?}");
    let both = ["a", "b"].map(|name| project.inspect(name, "{{json .NetworkSettings.Networks}}"));
    assert!(both.iter().all(|networks| networks.contains("10.")), "{both:?}");
}

#[test]
fn a_project_with_containers_is_listed_when_its_daemon_has_gone() {
    let Some(project) = services(ContainerEngine::Podman, SLEEPER) else { return };
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

/// The project's `docker` runs podman.
#[test]
fn the_docker_manager_uses_arguments_that_both_engines_know() {
    let Some(project) = services(ContainerEngine::Podman, &SLEEPER.replace("ENGINE", "docker")) else {
        return;
    };
    project.value("service start web");
    assert_eq!(project.status("web")["health"], "healthy");
    let managers = project.value("service managers");
    assert_eq!(managers.row("docker")["present"], true, "{managers}");
    assert!(managers.row("podman")["version"].as_str().unwrap().contains('.'), "{managers}");
    project.value("service stop web");
    assert_eq!(project.status("web")["status"], "stopped");
}
