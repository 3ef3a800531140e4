//! Tests of valid files, and of the errors of invalid ones.

use super::{DEFAULTS, config_from_str};
use service_api::Problem;
use service_core::Plan;
use service_core::config::{Condition, Config, Manager, Restart, WhenLost};

fn read(text: &str) -> Config {
    config_from_str(text, "services.toml").unwrap()
}

fn wrong(text: &str) -> Problem {
    match config_from_str(text, "services.toml") {
        Err(problem) => problem,
        Ok(_) => panic!("this was accepted: {text}"),
    }
}

#[test]
fn the_defaults_file_says_what_the_code_does() {
    let with = |file: &str| read(&format!("{file}\n[services.a]\nstart_command = 'a'"));
    let mut from_file = with(DEFAULTS);
    assert_eq!(from_file.settings.nu.take().as_deref(), Some("nu"));
    let mut from_code = with("");
    from_file.services[0].span = from_code.services[0].span;
    from_code.settings.nu = None;
    assert_eq!(from_file, from_code);
}

#[test]
fn a_name_with_a_dot_is_answered_with_its_quotation_marks() {
    for (text, name) in [
        ("[services.my.web]\nstart_command = 'x'", "my.web"),
        ("[services.my.web.v2]\nstart_command = 'x'", "my.web.v2"),
        ("[services.my]\nstart_command = 'x'\n[services.my.web]\nmanager = 'docker'", "my.web"),
    ] {
        let problem = wrong(text);
        let help = format!("write a name with a dot in quotation marks: [services.\"{name}\"]");
        assert_eq!(problem.help, Some(help), "{problem}");
    }
    for text in ["[services.my]\nstart_command = 'x'\nhelth = {}", "[services.my]\nenv = { A = 'x' }"] {
        let problem = wrong(text);
        assert!(!problem.help.as_deref().unwrap_or_default().contains("quotation"), "{problem}");
    }
}

#[test]
fn a_stop_command_beside_a_client_that_ends_makes_nushell_the_manager() {
    let config = read("[services.a]\nstart_command = 'systemctl start a'\nstop_command = 'systemctl stop a'");
    assert_eq!(config.services[0].manager, Manager::BuiltIn("command".into()));
    assert_eq!(config.services[0].start_command.text, "systemctl start a");
    let config =
        read("[services.a]\nstart_command = 'redis-server --port 1'\nstop_command = 'redis-cli shutdown'");
    assert_eq!(config.services[0].manager, Manager::Process);
    assert_eq!(config.services[0].stop_command.as_deref(), Some("redis-cli shutdown"));
}

#[test]
fn a_service_is_never_run_as_somebody_else_than_it_says() {
    let managed =
        "start_command = 'systemctl start a'\nmanager = 'command'\nstop_command = 'systemctl stop a'";
    for (text, key) in [
        (format!("[services.a]\n{managed}\nuser = 'nobody'"), "user"),
        (format!("[orchestrator.service_defaults]\nuser = 'nobody'\n[services.a]\n{managed}"), "user"),
        ("[services.a]\nmanager = 'systemd'\nuser = 'nobody'".to_owned(), "user"),
        ("[services.a]\nmanager = 'own.nu'\nuser = 'nobody'\ngroup = 'nogroup'".to_owned(), "user"),
    ] {
        let problem = wrong(&text);
        assert!(problem.message.contains(&format!("`{key}` applies only to `manager = ")), "{problem}");
    }
    read("[services.a]\nmanager = 'podman'\nimage = 'a'\nuser = 'nobody'");
    read("[services.a]\nstart_command = 'a'\nstop_command = 'b'\nuser = 'nobody'");
}

#[test]
fn a_one_shot_is_tried_again_only_where_it_says_so_itself() {
    let defaults = "[orchestrator.service_defaults]\nrestart = 'always'\n[services.a]\nstart_command = 'a'\n";
    let policy = |keys: &str| read(&format!("{defaults}{keys}")).services[0].restart;
    assert_eq!(policy(""), Restart::Always);
    assert_eq!(policy("oneshot = true"), Restart::No);
    assert_eq!(policy("oneshot = true\nrestart = 'on-failure'"), Restart::OnFailure);
}

#[test]
fn a_table_for_the_manager_is_taken_as_it_is_and_refused_where_nobody_reads_it() {
    let config = read("[services.a]\nmanager = 'own.nu'\nwith = { n = 0x10, deep = { list = [1.5, 'x'] } }");
    assert_eq!(config.services[0].with.as_deref(), Some(r#"{"deep":{"list":[1.5,"x"]},"n":16}"#));
    let problem = wrong("[services.a]\nstart_command = 'a'\nwith = { n = 1 }");
    assert!(problem.message.contains("`with` is for a manager that reads it"), "{problem}");
}

#[test]
fn a_command_is_split_like_a_shell_would_split_words() {
    let config = read("[services.a]\nstart_command = \"serve --name 'two words' x\"");
    assert_eq!(config.services[0].start_command.argv, ["serve", "--name", "two words", "x"]);
    let config = read("[services.a]\nstart_command = 'a | b'\nshell = 'sh'");
    assert_eq!(config.services[0].start_command.argv, ["sh", "-c", "a | b"]);
}

#[test]
fn an_edge_may_say_its_condition_and_what_happens_when_it_is_lost() {
    let config = read(
        "[services.a]\nstart_command = 'a'\n[services.b]\nstart_command = 'b'\n\
         dependencies = ['a', { name = 'a', condition = 'healthy', when_lost = 'restart' }]",
    );
    let edges = &config.services[1].dependencies;
    assert_eq!((edges[0].condition, edges[0].when_lost), (Condition::Ready, WhenLost::Keep));
    assert_eq!((edges[1].condition, edges[1].when_lost), (Condition::Healthy, WhenLost::Restart));
}

#[test]
fn service_defaults_apply_unless_a_service_says_otherwise() {
    let config = read(
        "[orchestrator.service_defaults]\nstop_timeout = '3s'\n[services.a]\nstart_command = 'a'\n\
         [services.b]\nstart_command = 'b'\nstop_timeout = '4s'",
    );
    let secs: Vec<u64> = config.services.iter().map(|service| service.stop_timeout.as_secs()).collect();
    assert_eq!(secs, [3, 4]);
}

#[test]
fn an_unknown_key_is_shown_in_its_line_with_the_key_that_may_be_meant() {
    let problem = wrong("[services.a]\nstart_command = 'a'\nstop_comand = 'b'");
    assert_eq!(
        problem.to_string(),
        "unknown key `stop_comand` in [services.a]\n --> services.toml:3:1\n3 | stop_comand = 'b'\n  | ^^^^^^^^^^^\n\
         help: did you mean `stop_command`?"
    );
}

#[test]
fn every_problem_of_a_file_is_reported_at_once() {
    let problem =
        wrong("[services.a]\nstart_command = 1\nrestart = 'allways'\nstop_timeout = 'soon'\noneshot = 'yes'");
    assert_eq!(problem.others.len(), 3);
    let help: Vec<_> = problem.others.iter().filter_map(|other| other.help.as_deref()).collect();
    assert_eq!(help, ["did you mean \"always\"?"]);
}

#[test]
fn a_url_that_nobody_can_be_asked_at_is_refused_where_it_stands() {
    for (url, why) in [
        ("http://:bad/", "empty host"),
        ("http://u@:bad/?t=1", "empty host"),
        ("http://host:99999/", "invalid port number"),
        ("https://host:x", "invalid port number"),
        ("http://256.1.1.1/", "invalid IPv4 address"),
        ("http://host:0/", "port 0"),
    ] {
        let problem = wrong(&format!("[services.a]\nstart_command = 'a'\nhealth_check_endpoint = '{url}'"));
        assert!(problem.message.contains(why) && problem.help.is_some(), "{url}: {}", problem.message);
        assert_eq!(problem.place.map(|place| (place.line, place.column)), Some((3, 25)), "{url}");
    }
}

#[test]
fn a_variable_has_a_name_that_the_kernel_takes_for_one() {
    for (env, column) in
        [(r"'A=B' = '1'", 9), (r"'' = '1'", 9), (r#""A\u0000" = '1'"#, 9), (r#"A = "a\u0000b""#, 13)]
    {
        let problem = wrong(&format!("[services.a]\nstart_command = 'a'\nenv = {{ {env} }}"));
        assert!(problem.message.contains("cannot"), "{}", problem.message);
        assert_eq!(problem.place.map(|place| (place.line, place.column)), Some((3, column)), "{env}");
    }
}

#[test]
fn what_is_not_toml_says_where() {
    let problem = wrong("[services.a]\nstart_command = ");
    assert_eq!(problem.place.map(|place| place.line), Some(2));
}

#[test]
fn a_circle_is_shown_as_a_path_with_the_place_of_each_edge() {
    let text = "[services.a]\nstart_command = 'a'\ndependencies = ['b']\n\
                [services.b]\nstart_command = 'b'\ndependencies = ['c']\n\
                [services.c]\nstart_command = 'c'\ndependencies = ['a']\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let problem = super::plan(file.path()).unwrap_err();
    assert_eq!(problem.message, "dependency cycle: a -> b -> c -> a");
    let lines: Vec<usize> = std::iter::once(&problem)
        .chain(&problem.others)
        .filter_map(|p| p.place.as_ref())
        .map(|p| p.line)
        .collect();
    assert_eq!(lines, [3, 6, 9]);
}

#[test]
fn separate_circles_are_all_shown() {
    let service = |name: &str, need: &str| {
        format!("[services.{name}]\nstart_command = 'x'\ndependencies = ['{need}']\n")
    };
    let cycles = [("a", "b"), ("b", "a"), ("c", "a"), ("d", "e"), ("e", "d"), ("f", "f")];
    let text: String = cycles.into_iter().map(|(name, need)| service(name, need)).collect();
    let errors = Plan::compile(read(&text)).unwrap_err();
    let paths: Vec<String> =
        errors.iter().filter_map(|error| Some(error.to_string().split_once(": ")?.1.to_owned())).collect();
    assert_eq!(paths, ["a -> b -> a", "d -> e -> d", "f -> f"]);
}

#[test]
fn a_key_of_another_supervisor_is_answered_with_ours() {
    for (key, ours) in [
        ("cmd", "start_command"),
        ("command", "start_command"),
        ("exec", "start_command"),
        ("ExecStart", "start_command"),
        ("depends_on", "dependencies"),
        ("after", "dependencies"),
        ("requires", "dependencies"),
        ("cwd", "working_dir"),
        ("WorkingDirectory", "working_dir"),
        ("environment", "env"),
        ("healthcheck", "health_check_endpoint"),
    ] {
        let problem = wrong(&format!("[services.a]\nstart_command = 'true'\n{key} = 'x'"));
        assert_eq!(problem.help, Some(format!("did you mean `{ours}`?")), "{key}");
    }
    let problem = wrong("[services.a]\nstart_command = 'true'\nnothing_like_it_at_all = 'x'");
    let help = problem.help.unwrap();
    assert_eq!(help.matches("start_command").count(), 1, "{help}");
}

#[test]
fn an_unknown_dependency_names_the_service_that_may_be_meant() {
    let config = read(
        "[services.database]\nstart_command = 'a'\n[services.b]\nstart_command = 'b'\ndependencies = ['databse']",
    );
    let errors = Plan::compile(config).unwrap_err();
    assert_eq!(errors[0].help().as_deref(), Some("did you mean `database`?"));
}

#[test]
fn a_word_of_the_api_cannot_be_a_service() {
    assert!(wrong("[services.list]\nstart_command = 'a'").message.contains("cannot be a service's name"));
}

#[test]
fn limits_are_sizes_and_cores() {
    let limits = |text: &str| read(&format!("[services.a]\nstart_command = 'a'\n{text}")).services[0].limits;
    assert_eq!(limits("memory_limit = '512MB'").memory, Some(512_000_000));
    assert_eq!(limits("memory_limit = '64MiB'").memory, Some(64 << 20));
    assert_eq!(limits("memory_limit = 100_000_000").memory, Some(100_000_000));
    for (written, cores) in [("0.5", 0.5), ("2", 2.0), ("'50%'", 0.5), ("'150 %'", 1.5)] {
        assert_eq!(limits(&format!("cpu_limit = {written}")).cpu, Some(cores), "{written}");
    }
    assert!(limits("").is_none());
    for wrong_value in
        ["memory_limit = '1KB'", "memory_limit = 0", "memory_limit = 'much'", "memory_limit = 1.5"]
    {
        let problem = wrong(&format!("[services.a]\nstart_command = 'a'\n{wrong_value}"));
        assert!(problem.message.starts_with("`memory_limit` should be a size of at least 1MB"), "{problem}");
    }
    for wrong_value in ["0", "-1", "inf", "nan", "0.001", "'half'", "'0.5'", "'0%'", "true"] {
        let problem = wrong(&format!("[services.a]\nstart_command = 'a'\ncpu_limit = {wrong_value}"));
        assert!(problem.message.starts_with("`cpu_limit` should be a number of cores"), "{problem}");
        assert_eq!(problem.place.map(|place| (place.line, place.column)), Some((3, 13)));
    }
}

#[test]
fn a_limit_for_what_a_manager_runs_is_said_to_have_no_effect() {
    let problem = wrong("[services.a]\nmanager = 'systemd'\nmemory_limit = '1GB'");
    assert_eq!(problem.place.as_ref().map(|place| place.line), Some(3));
    assert!(problem.message.contains("applies only to"), "{problem}");
    read("[orchestrator.service_defaults]\nmemory_limit = '1GB'\n[services.a]\nmanager = 'systemd'");
}

#[test]
fn what_can_be_read_and_not_be_meant_is_an_error_in_its_place() {
    let service = "[services.a]\nstart_command = 'a'\n";
    for (section, line, message) in [
        ("", "shell = ''", "`shell` cannot be \"\""),
        ("", "group = 'staff'", "`group` needs `user`"),
        ("health", "retries = 0", "`retries` cannot be 0"),
        ("health", "interval = '0s'", "`interval` cannot be 0s"),
        ("health", "timeout = '0s'", "`timeout` cannot be 0s"),
        ("ready", "timeout = '0s'", "`timeout` cannot be 0s"),
        ("backoff", "window = '0s'", "`window` cannot be 0s"),
    ] {
        let header = if section.is_empty() { String::new() } else { format!("[services.a.{section}]\n") };
        let problem = wrong(&format!("{service}{header}{line}"));
        assert_eq!(problem.message, message);
        assert!(problem.help.is_some() && problem.others.is_empty(), "{problem}");
        assert_eq!(problem.place.map(|place| place.snippet), Some(line.to_owned()));
    }
    read(&format!("{service}stop_timeout = '0s'\n[services.a.ready]\ndelay = '0s'"));
}

#[test]
fn a_default_that_cannot_be_meant_is_said_once_and_where_it_stands() {
    let services = "[services.a]\nstart_command = 'a'\n[services.b]\nstart_command = 'b'\n[services.b.health]\nstatus = [200]";
    let problem = wrong(&format!("[orchestrator.service_defaults.health]\nretries = 0\n{services}"));
    assert_eq!((problem.place.map(|place| place.line), problem.others.len()), (Some(2), 0));
}

#[test]
fn a_variable_keeps_its_value_whatever_its_base() {
    let config =
        read("[services.a]\nstart_command = 'a'\nenv = { A = 0x10, B = 0o17, C = -1_000, D = 1.50 }");
    let values: Vec<&str> = config.services[0].env.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["16", "15", "-1000", "1.50"]);
}

/// The findings of `service check`: severity, key, message.
fn findings(text: &str, files: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.toml");
    std::fs::write(&path, text).unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let word = |severity| if severity == service_api::Severity::Error { "error" } else { "warning" };
    super::check(&path, |_| Vec::new())
        .into_iter()
        .map(|row| format!("{} {}: {}", word(row.severity), row.key.unwrap_or_default(), row.message))
        .collect()
}

#[track_caller]
fn finds(text: &str, files: &[(&str, &str)], expected: &str) {
    let found = findings(text, files);
    assert!(found.iter().any(|row| row.contains(expected)), "{text}: {found:#?}");
    assert_eq!(found.len(), 1, "{text}: {found:#?}");
}

#[test]
fn to_wait_for_the_end_of_a_server_is_a_warning() {
    let text = |server: &str| {
        format!(
            "[services.db]\nstart_command = 'true'\n{server}\n[services.a]\nstart_command = 'true'\n\
             dependencies = [{{ name = 'db', condition = 'completed' }}]"
        )
    };
    let endpoint = "health_check_endpoint = 'tcp://127.0.0.1:5'";
    finds(&text(endpoint), &[], "warning dependencies: waits until `db` has ended with code 0");
    finds(&text("restart = 'always'"), &[], "warning dependencies: waits until `db` is completed");
    for batch in ["", "restart = 'no'", "oneshot = true"] {
        assert_eq!(findings(&text(batch), &[]), Vec::<String>::new(), "{batch}");
    }
}

#[test]
fn what_only_a_shell_would_act_on_is_a_warning_where_it_stands() {
    finds("[services.a]\nstart_command = 'true && true'", &[], "warning start_command: `&&` is passed as");
    finds("[services.a]\nstart_command = 'PORT=1 true'", &[], "warning start_command: `PORT=`");
    finds("[services.a]\nstart_command = 'cd web'", &[], "`cd` is a shell command");
    finds("[services.a]\nstart_command = '~/bin/serve'", &[], "`~` is not expanded");
    finds(
        "[services.a]\nstart_command = 'true'\nmanager = 'process'\nstop_command = 'kill $MAINPID'",
        &[],
        "warning stop_command: `$MAINPID`",
    );
    finds(
        "[services.a]\nstart_command = 'true'\nhealth_check_endpoint = 'exec:true | cat'",
        &[],
        "warning health_check_endpoint: `|`",
    );
    finds(
        "[services.a]\nstart_command = 'true'\nenv = { X = '/bin:$PATH' }",
        &[],
        "warning env: `X` contains `$PATH`",
    );
    for silent in [
        "[services.a]\nstart_command = 'true && true'\nshell = 'sh'",
        "[services.a]\nstart_command = ['true', '$PORT', '&&']",
        "[services.a]\nstart_command = 'true'\nenv = { PASSWORD = 'pa$$w0rd$x' }",
    ] {
        assert_eq!(findings(silent, &[]), Vec::<String>::new(), "{silent}");
    }
}

#[test]
fn a_key_that_another_one_switches_off_is_a_warning() {
    let with = |keys: &str| format!("[services.a]\nstart_command = 'true'\n{keys}");
    finds(&with("ready = { log = 'x', notify = true }"), &[], "warning ready.log: ");
    finds(&with("oneshot = true\nready = { log = 'x' }"), &[], "warning ready.log: ");
    finds(&with("ready = { log = 'x', delay = '1s' }"), &[], "warning ready.delay: ");
    finds(&with("ready = { timeout = '1s' }"), &[], "warning ready.timeout: ");
    finds(&with("health = { retries = 2 }"), &[], "warning health.retries: ");
    finds(
        &with("health_check_endpoint = 'tcp://127.0.0.1:1'\nhealth = { status = [200] }"),
        &[],
        "warning health.status: ",
    );
    finds(&with("backoff = { initial = '2m' }"), &[], "warning backoff.initial: ");
    finds(&with("status_command = 'true'"), &[], "warning status_command: ");
    finds(&with("stop_signal = 'STOP'"), &[], "`STOP` does not ask a program to end");
    let defaults =
        "[orchestrator.service_defaults]\nhealth = { retries = 2 }\n[services.a]\nstart_command = 'true'";
    assert_eq!(findings(defaults, &[]), Vec::<String>::new());
}

#[test]
fn to_wait_for_the_health_of_what_nothing_checks_is_a_warning() {
    let with = |need: &str| {
        format!(
            "[services.need]\nstart_command = 'true'\n{need}\n[services.a]\nstart_command = 'true'\n\
             dependencies = [{{ name = 'need', condition = 'healthy' }}]"
        )
    };
    finds(&with(""), &[], "`need` has no health check, so this is the same as `ready`");
    let managed = "manager = 'command'\nstop_command = 'true'";
    finds(&with(managed), &[], "the health of `need` is never known");
    for silent in [
        "health_check_endpoint = 'exec:true'".to_owned(),
        "oneshot = true".to_owned(),
        format!("{managed}\nstatus_command = 'true'"),
        format!("{managed}\nhealth_check_endpoint = 'exec:true'"),
    ] {
        assert_eq!(findings(&with(&silent), &[]), Vec::<String>::new(), "{silent}");
    }
    let by_a_manager = "[services.need]\nmanager = 'systemd'\n[services.a]\nstart_command = 'true'\n\
                        dependencies = [{ name = 'need', condition = 'healthy' }]";
    assert_eq!(findings(by_a_manager, &[]), Vec::<String>::new());
}

#[test]
fn an_env_file_that_fails_every_start_is_an_error_and_one_that_is_missing_a_warning() {
    let text = "[services.a]\nstart_command = 'true'\nenv_file = '.env'";
    finds(text, &[], "warning env_file: its env_file");
    finds(text, &[(".env", "GOOD=1\nB AD=2\nW ORSE=3\n")], ".env:2: ");
    finds(text, &[(".env", "GOOD=1\nB AD=2\nW ORSE=3\n")], ".env:3: ");
    finds(text, &[(".env", "HOST=h\nURL=http://$HOST/\n")], "warning env_file: `URL` in `");
    assert_eq!(findings(text, &[(".env", "HOST=h\nURL='http://$HOST/'\nP=a$b\n")]), Vec::<String>::new());
}

#[test]
fn a_file_without_services_and_a_nul_are_told() {
    finds("# nothing yet\n", &[], "this file defines no service");
    for key in [
        "start_command = \"a\\u0000b\"",
        "start_command = ['a', \"\\u0000\"]",
        "start_command = 'a'\nworking_dir = \"\\u0000\"",
        "start_command = 'a'\nenv_file = [\"\\u0000\"]",
    ] {
        assert!(wrong(&format!("[services.a]\n{key}")).message.contains("NUL"), "{key}");
    }
}

#[test]
fn a_file_that_cannot_be_read_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.toml");
    let help = || super::plan(&file).unwrap_err().help.unwrap();
    assert!(help().starts_with("restore the file"), "{}", help());
    std::fs::write(&file, [0xff]).unwrap();
    assert_eq!(help(), "save it as UTF-8");
    let found = super::check(&file, |_| Vec::new());
    assert_eq!(found[0].help.as_deref(), Some("save it as UTF-8"));
    assert!(found[0].message.contains("not UTF-8, from line 1"), "{}", found[0].message);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(help().starts_with("correct what the error names"), "{}", help());
}

#[test]
fn a_key_has_one_of_its_two_spellings() {
    let text =
        "[orchestrator.services]\ntransient_ttl = '7s'\n[services.a]\nstart_command = 'a'\nautostart = true";
    let config = read(text);
    assert_eq!(config.settings.forget_transient, std::time::Duration::from_secs(7));
    assert!(config.services[0].auto);
    let defaults =
        read("[orchestrator.service_defaults]\nautostart = true\n[services.a]\nstart_command = 'a'");
    assert!(defaults.services[0].auto);
    let both = wrong("[services.a]\nstart_command = 'a'\nauto = true\nautostart = true");
    assert!(both.message.contains("autostart"), "{both}");
}
