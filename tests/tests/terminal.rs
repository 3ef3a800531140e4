//! At a real terminal: ctrl-c and completion, neither of which starts a daemon.

use nix::sys::signal::Signal;
use service_tests::{Project, ServiceTable, Terminal, eventually, free_port, name, signal};

/// A service that is not ready before the file `go` exists.
const GATED: &str = "[services.slow]\nstart_command = \"TEST_SERVICE gate go say ready\"\n\
    ready = { log = \"^ready$\", timeout = \"20min\" }\n";

#[test]
fn ctrl_c_returns_to_the_prompt_and_the_start_goes_on() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        "[services.slow]\nstart_command = \"TEST_SERVICE wait 600000 listen {port}\"\nhealth_check_endpoint = \"tcp://127.0.0.1:{port}\"\n\
         ready = {{ timeout = \"20min\" }}"
    )) else {
        return;
    };
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service start slow", &["Enter"]);
    eventually("it is under way", || (project.status("slow")["state"] == "starting").then_some(()));
    terminal.shows("slow is starting");
    terminal.press(&["C-c"]);
    // Earlier input would be echoed into the line that is being cleared.
    terminal.shows("the daemon continues");
    terminal.shows("`service stop slow` reverts it");
    terminal.wait_for_prompt();
    assert!(!terminal.screen().contains("is starting"), "the line is left");
    assert_eq!(project.status("slow")["state"], "starting");
}

#[test]
fn a_stream_that_nobody_reads_any_more_ends_with_its_line_and_that_of_a_background_job_does_not() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
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
    let Some(project) = Project::new("[services.unmistakable]\nstart_command = \"TEST_SERVICE\"\n") else {
        return;
    };
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service start unm", &["Tab"]);
    terminal.shows("service start unmistakable");
    terminal.press(&["C-u"]);
    terminal.types("service enable unm", &["Tab"]);
    terminal.shows("service enable unmistakable");
    let daemons = || {
        let named = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "orchestratord\n")
        };
        project.processes().iter().filter(|pid| named(pid)).count()
    };
    assert_eq!(daemons(), 0);
}

#[test]
fn the_line_that_shows_the_waiting_is_gone_when_it_is_over() {
    let Some(project) = Project::new(GATED) else { return };
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service start slow", &["Enter"]);
    terminal.shows("slow is starting");
    project.write("go", "");
    terminal.shows("started");
    terminal.wait_for_prompt();
    assert!(!terminal.screen().contains("is starting"), "the line is left");
}

#[test]
fn the_line_that_shows_the_waiting_is_cut_to_the_terminal() {
    let Some(project) =
        Project::new(&GATED.replace("slow", "a-service-with-a-name-that-is-quite-long-for-a-name"))
    else {
        return;
    };
    let Some(terminal) = Terminal::with_width(&project, 40) else { return };
    terminal.types("service start --all", &["Enter"]);
    terminal.shows("starting 1s: a-service-with-a-name");
    terminal.shows("starting 2s: a-service-with-a-name");
    let drawn = terminal.screen().matches(": a-service-with").count();
    assert_eq!(drawn, 1, "it is drawn in one place");
    project.write("go", "");
    terminal.wait_for_prompt();
}

#[test]
fn ctrl_c_leaves_nothing_of_a_line_that_is_as_wide_as_the_terminal_and_no_empty_table() {
    let Some(project) =
        Project::new(&GATED.replace("slow", "a-service-with-a-name-that-is-quite-long-for-a-name"))
    else {
        return;
    };
    let Some(terminal) = Terminal::with_width(&project, 40) else { return };
    terminal.types("service start --all", &["Enter"]);
    terminal.shows("starting 1s: a-service-with-a-name");
    terminal.press(&["C-c"]);
    terminal.shows("the daemon continues");
    terminal.wait_for_prompt();
    assert!(!terminal.screen().contains("a-service-with"), "a rest of the line is left");
    assert!(!terminal.screen().contains("empty"), "rows that nobody waited for are shown as none");
}

#[test]
fn the_line_stays_while_a_closure_is_asked_again_and_again() {
    let Some(project) = Project::new(GATED) else { return };
    project.value("service start slow --no-wait");
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service wait { false }", &["Enter"]);
    let line = "waiting for the closure to return true";
    terminal.shows(line);
    eventually("it has been asked some times more", || {
        let screen = terminal.screen();
        assert!(screen.contains(line), "the line has gone: {screen}");
        screen.contains(&format!("{line} 4s")).then_some(())
    });
    terminal.press(&["C-c"]);
    terminal.wait_for_prompt();
    assert!(!terminal.screen().contains(line), "the line is left");
}

#[test]
fn ctrl_c_ends_a_wait_and_nothing_else() {
    let Some(project) = Project::new(GATED) else { return };
    project.value("service start slow --no-wait");
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service wait slow", &["Enter"]);
    terminal.shows("waiting until ready");
    terminal.press(&["C-c"]);
    terminal.shows("interrupted");
    terminal.wait_for_prompt();
    assert!(!terminal.screen().contains("waiting until ready"), "the line is left");
    assert_eq!(project.status("slow")["state"], "starting");
}

#[test]
fn ctrl_c_ends_an_apply_for_the_shell_and_the_daemon_goes_on() {
    let Some(project) = Project::new(GATED) else { return };
    project.write("go", "");
    project.value("service start slow");
    std::fs::remove_file(project.path("go")).expect("it was written");
    project.define(&format!("{GATED}env = {{ A = \"1\" }}\n"));
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service apply", &["Enter"]);
    terminal.shows("slow is starting");
    terminal.press(&["C-c"]);
    // Earlier input would be echoed into the line that is being cleared.
    terminal.shows("the daemon continues");
    terminal.wait_for_prompt();
    assert!(!terminal.screen().contains("slow is starting"), "the line is left");
    project.write("go", "");
    eventually("it is ready all the same", || (project.status("slow")["state"] == "ready").then_some(()));
    assert_eq!(project.value("service plan --all").as_array().expect("a table")[0]["change"], "none");
}

#[test]
fn ctrl_c_ends_following_events() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    project.value("service start web");
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types(
        "service events --follow --since 1hr | each { print $'($in.to?) it is' } | ignore",
        &["Enter"],
    );
    terminal.shows("ready it is");
    terminal.press(&["C-c"]);
    terminal.wait_for_prompt();
    // The ctrl-c comes before the first event.
    terminal.types("clear; service events --follow", &["Enter"]);
    eventually("it is over", || {
        terminal.press(&["C-c"]);
        // The screen is cleared, because earlier output remains until then.
        let screen = terminal.screen();
        (!screen.contains("at the prompt") && screen.contains("interrupted")).then_some(())
    });
    terminal.wait_for_prompt();
    assert!(!terminal.screen().contains("empty"), "{}", terminal.screen());
}

#[test]
fn ctrl_c_ends_following_a_log_as_text_and_as_rows() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE say hello\"\n") else {
        return;
    };
    project.value("service start web");
    let Some(terminal) = Terminal::open(&project) else { return };
    for flags in ["--raw", "| each { print $in.line }"] {
        terminal.types(&format!("clear; service logs web --follow {flags}"), &["Enter"]);
        eventually("the line is shown", || {
            // The output of the previous turn remains until the screen is cleared.
            let screen = terminal.screen();
            (!screen.contains("at the prompt") && screen.lines().any(|line| line == "hello")).then_some(())
        });
        terminal.press(&["C-c"]);
        terminal.wait_for_prompt();
    }
}

#[test]
fn a_wait_in_a_background_job_is_not_cut_short_by_the_next_prompt_and_draws_nothing() {
    let Some(project) = Project::new(GATED) else { return };
    project.value("service start slow --no-wait");
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("job spawn { service wait slow | get 0.state | save done.txt }", &["Enter"]);
    for _ in 0..3 {
        terminal.wait_for_prompt();
        terminal.types("clear", &["Enter"]);
    }
    terminal.types("sleep 600ms; print $'slept (1 + 1)'", &["Enter"]);
    terminal.shows("slept 2");
    assert!(!terminal.screen().contains("waiting until"), "a job draws over the prompt");
    assert_eq!(project.read("done.txt"), "");
    project.write("go", "");
    eventually("the job goes on", || (project.read("done.txt") == "ready").then_some(()));
}

#[test]
fn a_plugin_that_is_killed_in_the_middle_of_a_call_costs_that_call_only() {
    let Some(project) = Project::new(GATED) else { return };
    project.value("service start slow --no-wait");
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service wait slow", &["Enter"]);
    terminal.shows("waiting until ready");
    for pid in project.processes().into_iter().filter(|pid| name(*pid).starts_with("nu_plugin_")) {
        signal(pid, Signal::SIGKILL);
    }
    terminal.shows("Error");
    terminal.types("clear; service status | get 0.state", &["Enter"]);
    terminal.shows("starting");
}

#[test]
fn a_plugin_that_nushell_has_put_away_comes_back_with_the_next_call() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("$env.config.plugin_gc.default.stop_after = 0sec; service list | ignore", &["Enter"]);
    terminal.wait_for_prompt();
    let plugins =
        || project.processes().into_iter().filter(|pid| name(*pid).starts_with("nu_plugin_")).count();
    eventually("the plugin is put away", || (plugins() == 0).then_some(()));
    terminal.types("service status | get 0.state", &["Enter"]);
    terminal.shows("stopped");
}

#[test]
fn a_flag_with_fixed_words_is_completed() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types("service wait web --for comp", &["Tab"]);
    terminal.shows("--for completed");
}

#[test]
fn tab_offers_every_service_to_a_stop_and_to_a_start() {
    let Some(project) = Project::new(
        "[services.one-running]\nstart_command = \"TEST_SERVICE\"\n[services.one-idle]\nstart_command = \"TEST_SERVICE\"\n",
    ) else {
        return;
    };
    project.value("service start one-running");
    assert_eq!(project.value("service status").column("state"), ["ready", "stopped"]);
    let Some(terminal) = Terminal::open(&project) else { return };
    // A command without a completion would appear unknown.
    for command in ["stop", "start"] {
        terminal.types(&format!("service {command} one"), &["Tab"]);
        terminal.shows("one-running");
        terminal.shows("one-idle");
        terminal.press(&["Escape", "C-u"]);
        terminal.clear("one-idle");
    }
}
