//! The module `nu/service` at a real terminal: a live table that follows its terminal and leaves nothing on it.

use service_tests::{Project, Terminal, eventually, name};
use std::path::Path;

/// A line that loads the module.
fn load() -> String {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nu/service");
    format!("use {}", module.display())
}

#[test]
fn a_live_table_shows_what_changes_and_leaves_nothing_behind() {
    let Some(project) = Project::new(
        "[services.first]\nstart_command = \"TEST_SERVICE\"\n[services.second]\nstart_command = \"TEST_SERVICE\"\n",
    ) else {
        return;
    };
    project.value("service start first");
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types(&load(), &["Enter"]);
    // The keys that end the live table: ctrl-c and `q`.
    for keys in ["C-c", "q"] {
        terminal.types("service watch --interval 100ms", &["Enter"]);
        terminal.shows("1/2 up");
        project.value("service start second");
        terminal.shows("2/2 up");
        terminal.press(&[keys]);
        eventually("the table is gone", || (!terminal.screen().contains("2/2 up")).then_some(()));
        terminal.wait_for_prompt();
        // The output of `wait_for_prompt` is cleared, so that the next wait does not find it.
        terminal.clear("at the prompt");
        project.value("service stop second");
    }
}

#[test]
fn a_live_table_in_a_narrow_terminal_still_tells_memory_and_restarts() {
    let Some(project) = Project::new(
        "[services.database]\nstart_command = \"TEST_SERVICE\"\n[services.migrations]\nstart_command = \"TEST_SERVICE\"\n",
    ) else {
        return;
    };
    project.value("service start database");
    let Some(terminal) = Terminal::with_width(&project, 75) else { return };
    terminal.types(&load(), &["Enter"]);
    terminal.types("service watch --interval 100ms", &["Enter"]);
    terminal.shows("1/2 up");
    terminal.shows("memory │ restarts");
    terminal.press(&["q"]);
}

#[test]
fn tab_offers_services_to_up_tail_and_watch_and_starts_no_daemon() {
    let Some(project) = Project::new(
        "[services.one-running]\nstart_command = \"TEST_SERVICE\"\n[services.one-idle]\nstart_command = \"TEST_SERVICE\"\n\
         [services.unmistakable]\nstart_command = \"TEST_SERVICE\"\n",
    ) else {
        return;
    };
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types(&load(), &["Enter"]);
    let completes = |typed: &str, whole: &str| {
        terminal.types(typed, &["Tab"]);
        terminal.shows(whole);
        terminal.press(&["C-u"]);
    };
    for command in ["up", "tail", "watch"] {
        completes(&format!("service {command} unm"), &format!("service {command} unmistakable"));
    }
    let daemons = project.processes().into_iter().filter(|pid| name(*pid) == "orchestratord");
    assert_eq!(daemons.count(), 0);
    project.value("service start one-running");
    eventually("a start is offered also what runs", || {
        // The completion does not wait for a slow daemon.
        terminal.types("service up one", &["Tab"]);
        let offered = terminal.shows_soon(&["one-idle", "one-running"]);
        terminal.press(&["Escape", "C-u"]);
        offered.then_some(())
    });
}

#[test]
fn a_tail_follows_until_ctrl_c() {
    let Some(project) = Project::new(
        "[services.first]\nstart_command = \"TEST_SERVICE say hello moan ouch count 5000\"\n\
         [services.second]\nstart_command = \"TEST_SERVICE say there\"\n",
    ) else {
        return;
    };
    project.value("service start --all");
    let Some(terminal) = Terminal::open(&project) else { return };
    terminal.types(&load(), &["Enter"]);
    terminal.types("service tail --lines 1000", &["Enter"]);
    for line in ["first  | hello", "first  ! ouch", "second | there"] {
        terminal.shows(line);
    }
    terminal.press(&["C-c"]);
    terminal.types("clear", &["Enter"]);
    terminal.wait_for_prompt();
    assert!(!terminal.screen().contains("interrupted"), "{}", terminal.screen());
}
