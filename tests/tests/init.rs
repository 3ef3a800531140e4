//! `service init`: creates a commented services.toml, with suggestions that start nothing.

use service_tests::{Project, ServiceTable};

#[test]
fn the_file_is_valid_and_never_replaced_unless_forced() {
    let Some(project) = Project::new("") else { return };
    let error = project.error("service init");
    assert_eq!(error["code"], "service::exists", "{error}");
    assert_eq!(project.read("services.toml"), "");
    let answer = project.value("service init --force");
    assert_eq!((&answer["replaced"], &answer["suggestions"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(answer["path"], project.path("services.toml").canonicalize().unwrap().to_str().unwrap());
    assert_eq!(project.value("service check | where severity == error"), serde_json::json!([]));
    assert_eq!(project.value("service list"), serde_json::json!([]));
    assert!(project.processes().is_empty());
    for line in ["service start --all", "service start web"] {
        let error = project.error(line);
        assert_eq!(error["code"], "service::not_found", "{line}: {error}");
        assert!(error.to_string().contains("services.toml defines no service"), "{line}: {error}");
        assert!(error["help"].as_str().unwrap().contains("remove the `# `"), "{line}: {error}");
    }
    assert_eq!(project.value("service stop --all"), serde_json::json!([]));
}

#[test]
fn what_is_suggested_works_once_its_comments_are_taken_out() {
    let Some(project) = Project::new("") else { return };
    std::fs::remove_file(project.path("services.toml")).unwrap();
    project.write("Procfile", "web: printf '%s\\n' \"it's $HOME\" && exec sleep 60\n");
    project.write(
        "docker-compose.yml",
        "services:\n  db:\n    image: postgres\n  my.app:\n    image: app\n    depends_on:\n      - db\n",
    );
    project.write("package.json", r#"{"scripts": {"start": "node ."}}"#);
    let answer = project.value("service init");
    assert_eq!(answer["replaced"], false);
    assert_eq!(answer["suggestions"].column("name"), ["web", "db", "my.app", "app"]);
    assert_eq!(answer["suggestions"].column("source").last().unwrap(), "package.json");
    let written = project.read("services.toml");
    let suggested = written.split_once("# --- ").unwrap().1;
    let used: Vec<&str> = suggested.lines().skip(1).filter_map(|line| line.strip_prefix("# ")).collect();
    let used: Vec<&str> = used.into_iter().filter(|line| !line.starts_with("---")).collect();
    project.write("services.toml", &used.join("\n"));
    let listed = project.value("service list");
    assert_eq!(listed.column("name"), ["web", "db", "my.app", "app"]);
    assert_eq!(listed.row("my.app")["dependencies"], serde_json::json!(["db"]));
    assert_eq!(listed.row("web")["start_command"], "printf '%s\\n' \"it's $HOME\" && exec sleep 60");
    // The examples of the file itself are valid as well.
    project.nu("service init --force");
    let page = project.read("services.toml");
    let example = page.split_once("# [services.web-example]").unwrap().1.split_once("# ---").unwrap().0;
    let example: Vec<&str> = example.lines().map(|line| line.trim_start_matches('#')).collect();
    project.write(
        "services.toml",
        &format!(
            "[services.web-example]{}\n[services.database]\nstart_command = 'true'\n",
            example.join("\n")
        ),
    );
    let errors = project.value("service check | where severity == error");
    assert_eq!(errors, serde_json::json!([]));
}
