//! The projects in `examples/`, with real servers, in a copy of their directory.

use service_tests::{Project, ServiceTable, eventually, installed, program, skip};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The project of an example: a copy of its directory, with `edit` applied to its `services.toml`.
fn example(name: &str, edit: impl Fn(String) -> String) -> Option<Project> {
    let project = Project::new("")?;
    project.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name));
    project.define(&edit(project.read("services.toml")));
    Some(project)
}

#[test]
fn every_example_says_something_that_can_be_run() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for file in
        ["quickstart/services.toml", "platform/services.toml", "platform/coredns.toml", "platform/guide.toml"]
    {
        let mut check = Command::new(program("orchestratord"));
        let said = check.args(["check", "--config"]).arg(examples.join(file)).output().unwrap().stdout;
        let findings: serde_json::Value = serde_json::from_slice(&said).unwrap();
        // A program that is missing on this machine is not an error of the example.
        let errors: Vec<_> =
            findings["data"].as_array().unwrap().iter().filter(|row| row["severity"] == "error").collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
    }
}

#[test]
fn a_program_of_its_own_embeds_the_orchestrator() {
    let output =
        Command::new(program("embed")).env("SERVICE_SHIM", program("service-shim")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    let wanted = ["[\"database\", \"web-app\"]", "database: Running", "web-app: Running", "web-app: Stopped"];
    assert_eq!(lines, wanted, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_quickstart_counts_its_visitors() {
    let quickstart = format!("'{}'", program("quickstart").display());
    let Some(project) =
        example("quickstart", |services| services.replace("../../target/debug/quickstart", &quickstart))
    else {
        return;
    };
    let started = project.value("service start web-app");
    assert_eq!(started.column("name"), ["database", "cache", "web-app"]);
    assert_eq!(project.value("http get http://127.0.0.1:18103/"), "You are visitor number 1\n");
    project.value("service restart database");
    assert_eq!(project.value("http get http://127.0.0.1:18103/"), "You are visitor number 2\n");
    assert_eq!(project.value("service stop database").column("name"), ["web-app", "cache", "database"]);
}

/// The servers of the platform; `None`, after a message, if one is not installed.
fn servers() -> Option<Vec<PathBuf>> {
    ["dnsmasq", "docker-registry", "redis-server", "redis-cli", "lighttpd"]
        .into_iter()
        .map(|name| {
            installed(name).or_else(|| {
                skip(&format!("{name} is not installed"));
                None
            })
        })
        .collect()
}

#[test]
fn the_platform_comes_up_with_its_name_server_first_and_goes_down_with_it_last() {
    let (Some(_), Some(project)) = (servers(), example("platform", |services| services)) else { return };
    let started = project.value("service start oci-registry");
    assert_eq!(started.column("ok"), vec!["true"; 4], "{started:#}");
    let order = started.column("name");
    assert_eq!((order[0].as_str(), order[3].as_str()), ("dns", "oci-registry"));
    assert_eq!(project.value("service status | where health != healthy | length"), 0);
    assert_eq!(project.value("http get http://localhost:5000/v2/"), serde_json::json!({}));
    let kinds = project.value("service health | sort-by name");
    assert_eq!(kinds.column("kind"), ["dns", "http", "exec", "http"], "{kinds:#}");

    push_a_blob(&project);

    let stopped = project.value("service stop dns").column("name");
    assert_eq!((stopped[0].as_str(), stopped[3].as_str()), ("oci-registry", "dns"));
    assert_eq!(project.value("service status | where status == running | length"), 0);
}

/// Pushes a blob to the registry, reads it back, and checks that the registry has queried its cache.
fn push_a_blob(project: &Project) {
    let digest = "sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"; // SHA-256 of `hi`
    let blobs = "http://localhost:5000/v2/hello/blobs";
    let put = format!(
        "let upload = http post --full {blobs}/uploads/ ''
         let place = $upload.headers.response | where name == location | first | get value
         http put --full --content-type application/octet-stream $'($place)&digest={digest}' hi | get status"
    );
    assert_eq!(project.value(&put), 201);
    assert_eq!(project.value(&format!("http get --raw {blobs}/{digest} | decode")), "hi");
    eventually("the registry asked its cache", || {
        let keys = project.value("redis-cli -p 5379 keys '*' | lines");
        keys.to_string().contains(digest).then_some(())
    });
    eventually("the registry told the web server", || {
        let told = project.value("service logs web | where line =~ 'POST /events.txt' | length");
        (told != 0).then_some(())
    });
}
