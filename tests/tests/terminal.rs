//! At a real terminal: ctrl-c, completion, and no daemon from either.

use service_tests::{Project, Terminal, eventually, free_port};

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
