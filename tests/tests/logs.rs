//! Logs: every line, in order, by its stream, over restarts.

use service_tests::{Project, ServiceTable, eventually};

#[test]
fn each_line_is_there_with_its_time_and_stream() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"ACTOR say one moan two say three\"")
    else {
        return;
    };
    project.value("service start web");
    let lines = eventually("three lines are written", || {
        let lines = project.value("service logs web | where stream != shim");
        (lines.column("line").len() == 3).then_some(lines)
    });
    assert_eq!(
        lines.as_array().unwrap().iter().find(|line| line["line"] == "two").unwrap()["stream"],
        "stderr"
    );
    assert_eq!(lines.column("service"), ["web", "web", "web"]);
    assert_eq!(project.value("service logs web | where stream == stdout").column("line"), ["one", "three"]);
    assert_eq!(project.value("service logs web | first | get time | describe"), "datetime");
}

#[test]
fn no_line_of_many_is_lost_and_the_tail_is_the_end() {
    let Some(project) =
        Project::new("[services.web]\nstart_command = \"ACTOR chatter 20000 exit 0\"\noneshot = true")
    else {
        return;
    };
    project.value("service start web");
    assert_eq!(project.value("service logs web --tail 30000 | where stream == stdout | length"), 20000);
    assert_eq!(project.value("service logs web --tail 2").column("line"), ["line 19999", "line 20000"]);
    assert_eq!(
        project.value("service logs web --raw | lines | last"),
        "line 20000",
        "raw is the text itself"
    );
}

#[test]
fn since_leaves_out_what_is_older() {
    let Some(project) =
        Project::new("[services.web]\nstart_command = \"ACTOR say hello exit 0\"\noneshot = true")
    else {
        return;
    };
    project.value("service start web");
    project.value("service restart web");
    let first = "service logs web | where line == hello | first | get time";
    assert_eq!(project.value("service logs web --since 1hr | where line == hello | length"), 2);
    let since = format!("service logs web --since (({first}) + 1ms) | where line == hello | length");
    assert_eq!(project.value(&since), 1);
}

#[test]
fn logs_of_many_services_come_by_time() {
    let Some(project) = Project::new(
        "[services.b]\nstart_command = \"ACTOR say first\"\n\
         [services.a]\nstart_command = \"ACTOR say second\"\ndependencies = [\"b\"]",
    ) else {
        return;
    };
    project.value("service start a");
    eventually("both have spoken", || {
        let lines = project.value("service logs a b | where stream == stdout");
        (lines.column("line") == ["first", "second"]).then_some(())
    });
}
