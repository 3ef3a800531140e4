//! At a real terminal: ctrl-c, completion, and no daemon from either.

use service_tests::{Project, Terminal, eventually, free_port, name};

#[test]
fn ctrl_c_returns_to_the_prompt_and_the_start_goes_on() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        "[services.slow]\nstart_command = \"ACTOR wait 600000 listen {port}\"\nhealth_check_endpoint = \"tcp://127.0.0.1:{port}\"\n\
         ready = {{ timeout = \"20min\" }}"
    )) else {
        return;
    };
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service start slow", &["Enter"]);
    eventually("it is under way", || (project.status("slow")["state"] == "starting").then_some(()));
    terminal.press(&["C-c"]);
    terminal.types("print $'back at the prompt (20 + 3)'", &["Enter"]);
    terminal.shows("back at the prompt 23");
    assert_eq!(project.status("slow")["state"], "starting");
}

#[test]
fn a_stream_that_nobody_reads_any_more_ends_with_its_line_and_that_of_a_background_job_does_not() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"ACTOR\"\n") else { return };
    project.value("service status");
    let Some(terminal) = Terminal::open(&project) else { return };
    let plugins = || project.processes().into_iter().filter(|pid| name(*pid) == "nu_plugin_servi").count();
    terminal.types("$env.config.plugin_gc.default.stop_after = 100ms", &["Enter"]);
    let waits = |line: &str, mark: &str| {
        terminal.types(line, &["Enter"]);
        eventually("the plugin is there", || (plugins() > 0).then_some(()));
        eventually("it listens", || {
            project.value("service restart web");
            terminal.screen().contains(mark).then_some(())
        });
    };
    waits(
        "service events --follow | where to == ready | first 1 | get 0.service | print $'seen ($in)'",
        "seen web",
    );
    eventually("the plugin has nothing left to do", || (plugins() == 0).then_some(()));
    waits("job spawn { service events --follow | each {|it| print $'job saw ($it.to)' } }", "job saw ready");
    terminal.types("clear; print $'later (20 + 3)'", &["Enter"]);
    terminal.shows("later 23");
    project.value("service stop web");
    terminal.shows("job saw stopped");
    terminal.types("exit", &["Enter"]);
}

#[test]
fn tab_completes_names_and_starts_no_daemon() {
    let Some(project) = Project::new("[services.unmistakable]\nstart_command = \"ACTOR\"\n") else { return };
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service start unm", &["Tab"]);
    terminal.shows("service start unmistakable");
    let daemons = || {
        let named = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "orchestratord\n")
        };
        project.processes().iter().filter(|pid| named(pid)).count()
    };
    assert_eq!(daemons(), 0);
}
