//! `service logs --follow`: live, without gaps or repeated lines, across restarts.

use service_tests::{Answer, Project, ServiceTable, descriptors, eventually, follow};

/// A service that prints numbers fast, with a log that is rotated about every hundred lines.
const COUNTING: &str = "[services.web]\n\
    start_command = \"sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done'\"\n\
    log = { max_size = 4096, max_files = 50 }\n";

fn numbers(answer: &Answer) -> Vec<u64> {
    let lines = answer.value();
    let lines = lines.as_array().expect("a list").iter().filter_map(|line| line.as_str());
    lines.map(|line| line.trim_start_matches("line ").parse().expect("a number")).collect()
}

#[test]
fn lines_come_live_after_the_tail_without_gap_or_repetition_over_rotations_and_daemons() {
    let Some(project) = Project::new(COUNTING) else { return };
    project.value("service start web");
    eventually("there is a tail", || {
        (project.value("service logs web | where stream == stdout | length").as_u64() >= Some(5))
            .then_some(())
    });
    let following = project.spawn(
        "service logs web --follow --tail 5 | where stream == stdout | first 600 | get line | to json --raw",
    );
    for _ in 0..2 {
        project.value("service daemon restart");
    }
    let told = numbers(&Answer::wait_for(following));
    let expected: Vec<u64> = (told[0]..).take(600).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_restart_of_the_service_is_followed_into_its_next_run() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE say hello\"\n") else {
        return;
    };
    project.value("service start web");
    let following = project.spawn("service logs web -f | where line == hello | first 2 | length");
    project.value("service restart web");
    assert_eq!(Answer::wait_for(following).stdout.trim(), "2");
}

#[test]
fn several_services_are_told_apart_in_raw_text() {
    let Some(project) = Project::new(
        "[services.b]\nstart_command = \"TEST_SERVICE say first\"\n\
         [services.longer]\nstart_command = \"TEST_SERVICE say second\"\ndependencies = [\"b\"]\n",
    ) else {
        return;
    };
    project.value("service start longer");
    let text = project.value("service logs b longer --follow --raw | lines | where $it !~ shim | first 2");
    assert_eq!(text, serde_json::json!(["b      | first", "longer | second"]));
    assert_eq!(
        project.value("service logs b --raw | lines | where $it =~ first"),
        serde_json::json!(["first"])
    );
}

#[test]
fn a_service_that_has_never_run_can_be_followed() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE say hello\"\n") else {
        return;
    };
    project.value("service status");
    let socket = project.socket();
    let mut lines = follow(&socket, "/api/v1/logs?names=web&follow=true");
    project.value("service start web");
    assert!(lines.any(|line| line["data"]["line"] == "hello"));
}

#[test]
fn a_reader_that_reads_nothing_holds_nobody_up_and_one_that_leaves_is_forgotten() {
    let Some(project) = Project::new(
        "[services.job]\nstart_command = \"TEST_SERVICE chatter 200000 exit 0\"\noneshot = true\n[services.other]\nstart_command = \"TEST_SERVICE\"",
    ) else {
        return;
    };
    // After its first start, the daemon has opened all its permanent files.
    project.value("service start other");
    let (daemon, socket) = (project.daemon(), project.socket());
    let before = eventually("the daemon is calm", || {
        let now = descriptors(daemon);
        (now == descriptors(daemon)).then_some(now)
    });
    let idle = follow(&socket, "/api/v1/logs?names=job&follow=true");
    assert_eq!(project.value("service start job").row("job")["ok"], true);
    let memory = project.value(&format!("ps | where pid == {daemon} | get 0.mem"));
    assert!(memory.as_u64() < Some(100 << 20), "{memory} bytes");
    drop(idle);
    eventually("the connection is closed", || (descriptors(daemon) <= before).then_some(()));
}

#[test]
fn whoever_follows_ends_when_nobody_brings_the_daemon_back() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE say hello\"\n") else {
        return;
    };
    project.value("service start web");
    let following = project.spawn("try { service logs web -f | each {|line| print $line.line } | ignore } catch {|e| print $e.details.code }");
    eventually("it follows", || {
        (project.value("service logs web").column("line").contains(&"hello".into())).then_some(())
    });
    project.value("service stop web; service daemon stop");
    let answer = Answer::wait_for(following);
    assert!(answer.stdout.contains("service::daemon_unreachable"), "{answer:?}");
}
