//! The harness itself: a killed test leaves no process running. The harness of the bench runs too.

use service_tests::{Project, eventually, marked, program};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, thread};

/// The variable with the file to which the hanging test writes the directory of its project.
const NOTE: &str = "SERVICE_TEST_NOTE";

#[test]
#[ignore = "another test runs this one, and kills it"]
fn hangs() {
    let Some(project) = Project::new("[services.a]\nstart_command = \"TEST_SERVICE\"") else { return };
    project.value("service start a");
    let note = std::env::var(NOTE).unwrap();
    fs::write(format!("{note}.new"), project.path("").display().to_string()).unwrap();
    fs::rename(format!("{note}.new"), note).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_test_that_is_killed_leaves_nothing_running() {
    let Some(_) = Project::new("") else { return };
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("note");
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "hangs"])
        .env(NOTE, &note)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let project = eventually("it has started a service", || fs::read_to_string(&note).ok());
    let project = Path::new(project.trim_end_matches('/'));
    assert!(marked(project).len() >= 3, "a daemon, a shim and a service");
    test.kill().unwrap();
    test.wait().unwrap();
    eventually("nothing is left", || marked(project).is_empty().then_some(()));
    fs::remove_dir_all(project).unwrap();
}

/// Debug builds, whose figures say nothing.
#[test]
fn the_bench_measures_the_baseline_and_this_project_in_memory_and_on_disk() {
    let bench = program("service-bench");
    let disk = tempfile::tempdir().unwrap();
    let output = Command::new(&bench)
        .args(["--quick", "--alone", "--only", "uneven", "--disk"])
        .arg(disk.path())
        .env("SERVICE_TEST_PROGRAMS", bench.parent().unwrap())
        .output()
        .unwrap();
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}{errors}");
    let row = table.lines().find(|line| line.starts_with("| chain of 5")).unwrap();
    assert!(!row.contains("| – |"), "each of them has a figure: {row}");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0, "the disk is left as it was");
}
