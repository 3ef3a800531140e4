//! Tidy: the invariants of ARCHITECTURE.md that the compiler does not check, read from the repository itself.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 500;

/// A text file of the repository.
struct Page {
    path: String,
    text: String,
}

impl Page {
    /// The lines of code, without the tests at the end of a file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.find("#[cfg(test)]\nmod").unwrap_or(self.text.len());
        let lines = self.text[..tests].lines().enumerate();
        lines.map(|(n, line)| (n + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the repository").to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file with one of these endings below a directory.
fn pages(directory: &str, endings: &[&str]) -> Vec<Page> {
    let (mut pages, mut directories) = (Vec::new(), vec![root().join(directory)]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if path.is_dir() && name != "target" && name != ".git" {
                directories.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let path = path.strip_prefix(root()).expect("it lies in the repository");
                pages.push(Page { path: path.display().to_string(), text });
            }
        }
    }
    pages
}

/// The words after `dependencies` in a manifest.
fn dependencies(package: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(&format!("{package}/Cargo.toml")).parse().expect("a manifest is TOML");
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    dependencies.into_iter().flat_map(toml::Table::keys).cloned().collect()
}

/// Fails if any place was found, and lists all of them.
#[track_caller]
fn none(law: &str, places: impl IntoIterator<Item = String>) {
    let places: Vec<String> = places.into_iter().collect();
    assert!(places.is_empty(), "{law}:\n{}", places.join("\n"));
}

/// The places outside of certain files and directories where code contains one of these words.
fn outside(rooms: &[&str], words: &[&str], pages: Vec<Page>) -> Vec<String> {
    let strangers = pages.into_iter().filter(|page| !rooms.iter().any(|room| page.path.starts_with(room)));
    strangers
        .flat_map(|page| {
            let found = page.code().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
            found.map(|(n, line)| format!("{}:{n}: {}", page.path, line.trim())).collect::<Vec<_>>()
        })
        .collect()
}

/// Words of `a-z_` between two marks in a text.
fn words_between<'t>(text: &'t str, open: &'t str, close: char) -> impl Iterator<Item = &'t str> {
    text.match_indices(open)
        .filter_map(move |(at, _)| text[at + open.len()..].split_once(close))
        .map(|(word, _)| word)
}

#[test]
fn the_core_is_pure() {
    assert!(read("crates/service-core/src/lib.rs").contains("\n#![no_std]\n"));
    let allowed = ["hashbrown", "petgraph", "serde", "strsim", "thiserror"].map(String::from).into();
    assert_eq!(dependencies("crates/service-core").difference(&allowed).count(), 0);
    none(
        "the core names no std",
        outside(&[], &["std::", "extern crate std"], pages("crates/service-core/src", &[".rs"])),
    );
}

/// The crates of the daemon, lowest first.
const MACHINE: [&str; 12] = [
    "service-core",
    "service-api",
    "service-shim",
    "service-host",
    "service-process",
    "service-store",
    "service-config",
    "service-probe",
    "service-manager",
    "service-orchestrator",
    "service-openapi",
    "service-http",
];

#[test]
fn crates_depend_only_downwards() {
    let below = [
        ("service-core", &[][..]),
        ("service-api", &[]),
        ("service-shim", &[]),
        ("service-host", &MACHINE[..3]),
        ("service-process", &MACHINE[..4]),
        ("service-store", &MACHINE[..4]),
        ("service-config", &MACHINE[..4]),
        ("service-probe", &MACHINE[..7]),
        ("service-manager", &MACHINE[..7]),
        ("service-orchestrator", &MACHINE[..9]),
        ("service-openapi", &["service-api"]),
        ("service-http", &MACHINE[..11]),
        ("orchestratord", &MACHINE),
        ("service-client", &["service-api"]),
        ("service-nushell", &["service-api", "service-client"]),
        ("nu_plugin_service", &["service-api", "service-client", "service-nushell"]),
    ];
    let crates: BTreeSet<String> = below.iter().map(|(name, _)| (*name).to_owned()).collect();
    let present = pages("crates", &["Cargo.toml"]);
    let present = present.iter().filter_map(|page| page.path.split('/').nth(1).map(str::to_owned));
    assert_eq!(crates, present.collect(), "each crate has a row");
    let rooms: Vec<&str> = below.iter().map(|(name, _)| *name).collect();
    for (name, below) in below {
        let ours = dependencies(&format!("crates/{name}"));
        let wrong =
            ours.iter().filter(|name| rooms.contains(&name.as_str()) && !below.contains(&name.as_str()));
        none(&format!("{name} depends only on {below:?}"), wrong.cloned());
    }
}

#[test]
fn only_the_plugin_and_its_rows_name_nushell_crates() {
    for page in pages(".", &["Cargo.toml"]) {
        let package = page.path.trim_end_matches("Cargo.toml").trim_end_matches('/');
        if !package.is_empty() && !["crates/nu_plugin_service", "crates/service-nushell"].contains(&package) {
            let named = dependencies(package).into_iter().filter(|name| name.starts_with("nu-"));
            none(&format!("{package} names no nu-* crate"), named);
        }
    }
}

#[test]
fn some_things_are_named_in_one_room_only() {
    let crates = || pages("crates", &[".rs"]);
    none(
        "petgraph stays behind plan/graph.rs",
        outside(&["crates/service-core/src/plan/graph.rs"], &["petgraph::"], crates()),
    );
    none(
        "reqwest is for the plugin's client",
        outside(&["crates/service-client/src/client.rs"], &["reqwest::"], crates()),
    );
    none("axum is for the API", outside(&["crates/service-http/src"], &["axum::"], crates()));
}

#[test]
fn a_source_file_opens_with_what_lives_in_it_and_stays_short() {
    let pages = pages(".", &[".rs", ".nu"]);
    let opens = |page: &&Page| page.text.starts_with("//! ") || page.text.starts_with("# ");
    none(
        "these do not say what lives in them",
        pages.iter().filter(|page| !opens(page)).map(|page| page.path.clone()),
    );
    let long =
        pages.iter().map(|page| (page, page.text.lines().count())).filter(|(_, lines)| *lines > MAX_LINES);
    none("these are too long", long.map(|(page, lines)| format!("{}: {lines}", page.path)));
}

#[test]
fn nothing_is_left_for_later() {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["X", "XX"].concat()];
    let pages = pages(".", &[".rs", ".nu", ".md", ".toml"]);
    let left = pages.iter().flat_map(|page| {
        let lines = page.text.lines().enumerate();
        lines
            .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
            .map(|(n, line)| format!("{}:{}: {line}", page.path, n + 1))
    });
    none("these were left for later", left);
}

#[test]
fn every_path_in_the_pages_exists() {
    let files: Vec<String> = pages(".", &[".rs"]).into_iter().map(|page| format!("/{}", page.path)).collect();
    let mut documents = pages("docs", &[".md"]);
    for path in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        documents.push(Page { path: path.to_owned(), text: read(path) });
    }
    for Page { path: page, text } in documents {
        let words = words_between(&text, "`", '`').filter(|word| !word.contains([' ', '*', '{', '…']));
        let is_lost = |word: &&str| {
            let first = word.split('/').next().unwrap_or_default();
            let is_from_root = word.contains('/')
                && ["bench", "crates", "docs", "examples", "fuzz", "nu", "tests", "xtask", ".ci"]
                    .contains(&first);
            let is_source = Path::new(word).extension().is_some_and(|extension| extension == "rs")
                && !files.iter().any(|file| file.ends_with(&format!("/{word}")));
            is_source || (is_from_root && !root().join(word).exists())
        };
        none(&format!("{page} names paths that do not exist"), words.filter(is_lost).map(String::from));
    }
}

#[test]
fn every_route_is_documented() {
    let (routes, api) = (read("crates/service-api/src/routes.rs"), read("docs/api.md"));
    let missing = words_between(&routes, "= \"/api", '"')
        .map(|rest| format!("/api{rest}"))
        .filter(|route| !api.contains(route));
    none("docs/api.md does not name these", missing);
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let routes = read("crates/service-api/src/routes.rs");
    let named: BTreeSet<String> = words_between(&routes, "= \"/api/v1/", '"').map(String::from).collect();
    let document = read("docs/openapi.json");
    let described: BTreeSet<String> =
        words_between(&document, "\n    \"/api/v1/", '"').map(String::from).collect();
    assert!(named.len() > 20 && !described.is_empty());
    none("docs/openapi.json does not describe these", named.difference(&described).cloned());
    none("service_api::routes does not name these", described.difference(&named).cloned());
    let manifest = read("crates/nu_plugin_service/Cargo.toml");
    assert!(!manifest.contains("openapi"), "the plugin describes nothing, so it does not pay for it");
}

#[test]
fn every_key_of_the_configuration_is_documented_and_no_other() {
    let is_key = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let mut keys = BTreeSet::new();
    for file in ["load/file.rs", "load/api.rs", "load/definition.rs", "load/container.rs"] {
        let text = read(&format!("crates/service-config/src/{file}"));
        keys.extend(words_between(&text, "(\"", '"').filter(is_key).map(String::from));
    }
    let docs = read("docs/config.md");
    none(
        "docs/config.md does not explain these",
        keys.iter().filter(|key| !docs.contains(key.as_str())).cloned(),
    );

    let defaults = read("config.defaults.toml");
    let set = |text: &str| -> BTreeSet<String> {
        let names = text.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim());
        names.filter(is_key).map(String::from).collect()
    };
    none("no code reads these of config.defaults.toml", set(&defaults).difference(&keys).cloned());
    let examples: String =
        docs.split("```toml").skip(1).filter_map(|block| block.split("```").next()).collect();
    none("no code reads these of docs/config.md", set(&examples).difference(&keys).cloned());
}

#[test]
fn no_command_of_the_module_hides_one_of_the_plugin() {
    let plugin: BTreeSet<String> = pages("crates/nu_plugin_service/src/commands", &[".rs"])
        .iter()
        .flat_map(|page| words_between(&page.text, "\"service ", '"').map(String::from).collect::<Vec<_>>())
        .collect();
    assert!(plugin.contains("start") && plugin.contains("status"), "{plugin:?}");
    let module = pages("nu/service", &[".nu"]);
    let ours = module.iter().filter_map(|page| Path::new(&page.path).file_stem()?.to_str());
    none(
        "nu/service would silently replace these",
        ours.filter(|name| plugin.contains(*name)).map(String::from),
    );
}

#[test]
fn every_command_over_http_is_one_of_the_plugin() {
    let plugin: Vec<String> =
        pages("crates/nu_plugin_service/src/commands", &[".rs"]).into_iter().map(|page| page.text).collect();
    let strange = pages("nu/service-http/service", &[".nu"]).into_iter().filter_map(|page| {
        let name = Path::new(&page.path).file_stem()?.to_str()?.to_owned();
        let said = [format!("\"service {name}\""), format!("\"service {name} ")];
        let known = plugin.iter().any(|text| said.iter().any(|said| text.contains(said)));
        (name != "mod" && !known).then_some(name)
    });
    none("the plugin has no such commands", strange);
}

#[test]
fn every_command_is_in_the_readme() {
    let readme = read("README.md");
    let mut pages = pages("crates/nu_plugin_service/src/commands", &[".rs"]);
    pages.extend(self::pages("nu/service", &[".nu"]));
    let named = pages.iter().filter_map(|page| {
        let plugin = words_between(&page.text, "        \"service ", '"').next();
        let module = page.text.strip_prefix("# `service ").and_then(|text| text.split('`').next());
        plugin.or(module)
    });
    let told = |name: &str| {
        let first = name.split(' ').next().unwrap_or(name);
        readme.contains(&format!("| `service {name}"))
            || readme.contains(&format!("`service {name}`"))
            || (first != name && readme.contains(&format!("| `service {first}")))
    };
    none("README.md does not list these", named.filter(|name| !told(name)).map(String::from));
}

#[test]
fn both_fronts_speak_the_same_version() {
    let api = read("crates/service-api/src/lib.rs");
    let number = words_between(&api, "API_VERSION: u32 = ", ';').next().expect("the API has a version");
    assert!(read("nu/service-http/client.nu").contains(&format!("\nconst API = {number}\n")));
}

#[test]
fn ci_can_be_run() {
    let mode = fs::metadata(root().join(".ci/run")).expect(".ci/run is there").permissions().mode();
    assert_eq!(mode & 0o111, 0o111, ".ci/run is executable");
}

#[test]
fn nothing_of_ours_is_run_through_a_shell() {
    let mut pages = pages("crates", &[".rs"]);
    pages.extend(self::pages("nu", &[".nu"]));
    pages.retain(|page| {
        !page.path.contains("/tests/")
            && !page.path.ends_with("/tests.rs")
            && !page.path.starts_with("nu/tests/")
    });
    // Exceptions: a mock daemon of unit tests, the suggestion of `shell`, the programs with shell syntax, and a
    // constant script with arguments.
    let plugin = "crates/service-client/src";
    let detect = "crates/service-config/src/init/detect.rs";
    let syntax = "crates/service-config/src/load/shell_syntax.rs";
    let rooms = [&format!("{plugin}/mock_daemon.rs"), detect, syntax, "nu/service-http/launch.nu"];
    let shells = ["\"sh\"", "\"bash\"", "/bin/sh", "sh -c", "^sh", "^bash", "system("];
    none("only `shell =` of a service names a shell", outside(&rooms, &shells, pages));
    let launch = read("nu/service-http/launch.nu");
    assert_eq!(launch.matches("^sh -c $script sh ").count(), 1);
    assert!(launch.contains("let script = 'out="), "the script is one that nothing is put into");
}

#[test]
fn every_claim_about_security_names_a_test_that_exists() {
    let claims = read("docs/security.md");
    let tests: String = pages(".", &[".rs"])
        .into_iter()
        .filter(|page| {
            page.text.contains("#[test]")
                || page.text.contains("#[tokio::test")
                || page.text.contains("proptest!")
        })
        .map(|page| page.text)
        .collect();
    // The text before it describes the attackers.
    let (_, claims) = claims.split_once("\n## ").expect("there are claims");
    let rows = claims.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| claim"));
    let mut named = 0;
    let lost = rows.filter_map(|row| {
        let test = row.trim_end_matches(" |").rsplit("| ").next()?.trim().trim_matches('`');
        named += 1;
        (!tests.contains(&format!("fn {test}("))).then(|| row.to_owned())
    });
    none("these claims name no test", lost.collect::<Vec<_>>());
    assert!(named > 20, "there are claims");
}
