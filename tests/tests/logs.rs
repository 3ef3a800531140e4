//! Logs: every line, in order, with its stream, across restarts, including unfinished lines.

use service_tests::{Project, ServiceTable, eventually};

#[test]
fn each_line_is_there_with_its_time_and_stream() {
    let Some(project) =
        Project::new("[services.web]\nstart_command = \"TEST_SERVICE say one moan two say three\"")
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
        Project::new("[services.web]\nstart_command = \"TEST_SERVICE chatter 20000 exit 0\"\noneshot = true")
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
        Project::new("[services.web]\nstart_command = \"TEST_SERVICE say hello exit 0\"\noneshot = true")
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
        "[services.b]\nstart_command = \"TEST_SERVICE say first\"\n\
         [services.a]\nstart_command = \"TEST_SERVICE say second\"\ndependencies = [\"b\"]",
    ) else {
        return;
    };
    project.value("service start a");
    eventually("both have spoken", || {
        let lines = project.value("service logs a b | where stream == stdout");
        (lines.column("line") == ["first", "second"]).then_some(())
    });
}

/// A service that prints a boot message and a question, and continues when the file `answer` exists.
const ASKS: &str = r#"
[services.web]
shell = "sh"
start_command = '''
printf 'booting\r\nOverwrite? [y/N] '
while ! [ -e answer ]; do sleep 0.02; done
printf 'yes\r\n'; exec sleep 1000'''
"#;

#[test]
fn a_line_that_has_not_ended_is_seen_everywhere_and_goes_on() {
    let Some(project) = Project::new(ASKS) else { return };
    project.value("service start web");
    let asks = ["booting", "Overwrite? [y/N] "];
    eventually("the question is there", || {
        (project.value("service logs web").column("line") == asks).then_some(())
    });
    assert_eq!(project.value("service logs web --follow | first 2").column("line"), asks);
    assert_eq!(project.value("service why web | get log").column("line"), asks);
    std::fs::write(project.path("answer"), "").expect("the directory is ours");
    let whole = ["booting", "Overwrite? [y/N] yes"];
    eventually("the line goes on", || {
        (project.value("service logs web").column("line") == whole).then_some(())
    });
}

#[test]
fn who_follows_is_told_what_has_begun_and_then_what_comes_behind() {
    let Some(project) = Project::new(ASKS) else { return };
    project.value("service start web");
    let rows = "service logs web --follow | each {|row| if $row.line =~ Overwrite { touch answer }; $row } | first 3";
    assert_eq!(project.value(rows).column("line"), ["booting", "Overwrite? [y/N] ", "yes"]);
}

#[test]
fn a_service_is_ready_by_what_a_person_sees_of_its_log() {
    for said in [
        r"\033[32mServer\033[0m \033[1mReady\033[0m on port 1\n",
        "Server Ready on> ",
        r"0%%\rServer Ready on 1",
    ] {
        let Some(project) = Project::new(&format!(
            "[services.web]\nshell = \"sh\"\nready = {{ log = \"^Server Ready on\", timeout = \"20s\" }}\n\
             start_command = \"\"\"printf '{}'; exec sleep 1000\"\"\"",
            said.replace('\\', r"\\")
        )) else {
            return;
        };
        assert_eq!(project.value("service start web | get ok.0"), true, "{said}");
    }
}

#[test]
fn a_log_that_was_moved_or_removed_is_made_anew() {
    let Some(project) = Project::new(
        "[services.web]\nshell = \"sh\"\nstart_command = \"while :; do echo on; sleep 0.02; done\"",
    ) else {
        return;
    };
    project.value("service start web");
    let log = project.value("service status web --long | get log.0");
    let log = std::path::PathBuf::from(log.as_str().expect("it is a path"));
    let has_lines = || project.value("service logs web --tail 1").column("line") == ["on"];
    eventually("it is under way", || has_lines().then_some(()));
    std::fs::rename(&log, log.with_extension("old")).expect("the directory is ours");
    eventually("it goes on in a new one", || (log.exists() && has_lines()).then_some(()));
    std::fs::remove_file(&log).expect("the directory is ours");
    eventually("and again", || (log.exists() && has_lines()).then_some(()));
}
