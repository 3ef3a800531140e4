//! The layout of every table at 80 and at 200 columns: `tests/golden/`, rewritten with `SERVICE_REWRITE_GOLDEN=1`.

use service_tests::{Project, Terminal, eventually, free_port, program};
use std::fs;
use std::path::{Path, PathBuf};

const SERVICES: &str = r#"
[services.database]
description = "Orders and customers"
start_command = "TEST_SERVICE listen DATABASE say 'accepting connections'"
health_check_endpoint = "tcp://127.0.0.1:DATABASE"

[services.migrations]
start_command = "TEST_SERVICE exit 0"
oneshot = true
dependencies = ["database"]

[services.cache]
start_command = "TEST_SERVICE"
dependencies = [{ name = "migrations", condition = "completed" }]

[services.web-frontend]
description = "What customers see"
start_command = "TEST_SERVICE listen FRONTEND say 'listening on port FRONTEND'"
health_check_endpoint = "tcp://127.0.0.1:FRONTEND"
dependencies = ["database", "cache"]

[services.mailer]
start_command = "TEST_SERVICE moan 'the post office is closed' exit 3"
restart = "no"
ready = { delay = "20s" }
dependencies = ["web-frontend"]
"#;

/// The project after some changes.
const CHANGED: &str = r#"
[services.database]
start_command = "TEST_SERVICE listen DATABASE say 'accepting connections'"
health_check_endpoint = "tcp://127.0.0.1:DATABASE"
env = { TZ = "UTC" }

[services.cache]
start_command = "TEST_SERVICE"
dependencies = ["database"]

[services.web-frontend]
description = "What customers see"
start_command = "TEST_SERVICE listen FRONTEND say 'listening on port FRONTEND'"
health_check_endpoint = "tcp://127.0.0.1:FRONTEND"
dependencies = ["database", "cache"]
"#;

/// A file with many errors.
const WRONG: &str = r#"
[services.web]
start_command = "true"
dependencies = ["dtabase", "cache"]
[services.cache]
start_command = "true"
restrat = "no"
dependencies = ["web"]
"#;

/// The project of the tables, and replacements of variable text.
struct Shop {
    project: Project,
    ports: [u16; 2],
}

impl Shop {
    fn new() -> Option<Self> {
        let shop = Self { project: Project::new("")?, ports: [free_port(), free_port()] };
        shop.define(SERVICES);
        Some(shop)
    }

    fn define(&self, services: &str) {
        let [database, frontend] = self.ports.map(|port| port.to_string());
        self.project.define(&services.replace("DATABASE", &database).replace("FRONTEND", &frontend));
    }

    /// The Nushell code that loads the commands and makes a value reproducible.
    fn settle(&self) -> (String, String) {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/table_layout.nu");
        let stands_for = [
            (format!("'{}'", program("test_service").display()), "shop-server"),
            ("process [0-9]+".into(), "process 1234567"),
            ("/tmp[^/]*-[0-9a-f]{16}".into(), "/shop-0123456789abcdef"),
            (program("test_service").display().to_string(), "shop-server"),
            (self.project.path("").display().to_string(), "/home/me/shop/"),
            (self.project.path("").display().to_string().trim_end_matches('/').into(), "/home/me/shop"),
            (self.ports[0].to_string(), "5432"),
            (self.ports[1].to_string(), "8080"),
        ];
        let pairs = stands_for.map(|(text, usual)| format!("[r#'{text}'# '{usual}']")).join(" ");
        (format!("use {} *", fixture.display()), format!("settle [{pairs}]"))
    }

    /// The golden page of a line.
    fn page(&self, line: &str) -> String {
        let (load, settle) = self.settle();
        let drawn = self.project.nu(&format!(
            "{load}; let value = {line} | {settle}
            [80 200] | each {{|columns| $'($columns) columns\n($value | draw $columns)\n' }} | str join \"\\n\" | print --no-newline"
        ));
        assert!(drawn.success, "{}", drawn.stderr);
        let text = format!("> {line}\n\n{}", drawn.stdout);
        text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
    }

    /// Compares the output of a line with its golden page.
    fn looks(&self, name: &str, line: &str, differ: &mut Vec<String>) {
        let (is, file) = (self.page(line), golden(name));
        if std::env::var_os("SERVICE_REWRITE_GOLDEN").is_some() {
            fs::write(file, is).expect("the repository can be written to");
        } else {
            let should = fs::read_to_string(&file).unwrap_or_default();
            if is != should {
                differ.push(format!("{name} should look so:\n{should}\nbut looks so:\n{is}"));
            }
        }
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.txt"))
}

#[test]
fn every_table_looks_as_it_was_last_agreed_at_80_and_at_200_columns() {
    let Some(shop) = Shop::new() else { return };
    let mut differ = Vec::new();
    let differ = &mut differ;
    shop.looks("list", "service list", differ);
    shop.looks("order", "service order", differ);
    shop.looks("graph", "service graph", differ);
    shop.looks("start", "service start web-frontend mailer", differ);
    eventually("all have spoken and been checked", || {
        let lines = shop.project.value("service logs | where stream != shim | length");
        let known =
            "service status --long | where pid != null | all {|it| $it.cpu != null and $it.memory != null }";
        (lines == 3 && shop.project.value(known) == true).then_some(())
    });
    shop.looks("status", "service status", differ);
    shop.looks("status-long", "service status --long", differ);
    shop.looks("health", "service health database cache", differ);
    shop.looks("logs", "service logs | where stream == stdout", differ);
    shop.looks("events", "service events | where service == mailer", differ);
    shop.looks("history", "service history mailer", differ);
    shop.looks("starts", "service history --starts", differ);
    shop.looks("why", "service why mailer", differ);
    shop.looks("wait", "service wait web-frontend", differ);
    shop.looks("daemon", "service daemon status", differ);
    shop.looks("projects", "service projects", differ);
    shop.define(CHANGED);
    shop.looks("plan", "service plan", differ);
    shop.looks("apply", "service apply", differ);
    shop.looks("stop", "service stop --all", differ);
    shop.define(WRONG);
    shop.looks("check", "service check", differ);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn a_terminal_shows_a_table_as_the_golden_pages_do() {
    let Some(shop) = Shop::new() else { return };
    let Some(terminal) = Terminal::with_width(&shop.project, 80) else { return };
    let (load, settle) = shop.settle();
    shop.project.write("shown.nu", &format!("{load}\ndef shown []: any -> any {{ {settle} }}\n"));
    let line = "service list | reject start_command";
    terminal.types("source shown.nu; clear", &["Enter"]);
    terminal.types(&format!("{line} | shown"), &["Enter"]);
    let page = shop.page(line);
    let table =
        page.split("80 columns\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("it has two");
    terminal.shows(table.trim_end());
}
