//! `service run`.

use super::action::ActionKind;
use super::add::send;
use super::run_action;
use super::signature::signature;
use crate::plugin::ServicePlugin;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Completion, Example, Flag, LabeledError, PipelineData, Signature, Span, Spanned, SyntaxShape, Type, Value,
};
use serde_json::{Map, Value as Json};
use service_api::Cell;
use service_nushell::error::{invalid_call, labeled_at};
use service_nushell::shell;
use service_nushell::value_conversion;
use std::path::Path;
use std::time::Instant;

/// The flags that are keys of services.toml.
const KEYS: [(&str, &str); 7] = [
    ("name", "name"),
    ("env", "env"),
    ("working-dir", "working_dir"),
    ("restart", "restart"),
    ("health", "health_check_endpoint"),
    ("memory-limit", "memory_limit"),
    ("shell", "shell"),
];

pub(super) struct RunCommand;

impl PluginCommand for RunCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service run"
    }

    fn signature(&self) -> Signature {
        let restart = Flag::new("restart")
            .arg(SyntaxShape::String)
            .desc("Restart policy (default: on-failure, and no with --oneshot)")
            .completion(Completion::new_list(&["no", "on-failure", "always", "unless-stopped"]));
        signature(self.name())
            .rest(
                "command",
                SyntaxShape::OneOf(vec![SyntaxShape::String, SyntaxShape::Boolean]),
                "A command line as one string, or as words after `--`",
            )
            .named(
                "name",
                SyntaxShape::String,
                "Name of the service (default: from the program, made unique)",
                Some('n'),
            )
            .named("env", SyntaxShape::record(), "Environment variables", Some('e'))
            .named(
                "working-dir",
                SyntaxShape::Directory,
                "Working directory (default: the current one)",
                Some('C'),
            )
            .param(restart)
            .named(
                "health",
                SyntaxShape::String,
                "Target of the health check: http://, tcp://, exec: and so on",
                None,
            )
            .named("memory-limit", SyntaxShape::Filesize, "Maximum memory", None)
            .named("shell", SyntaxShape::String, "The shell that runs the command line, such as sh", None)
            .switch("oneshot", "The command does its work and exits: wait for the exit", None)
            .switch("keep", "Keep its definition until `service remove`", Some('k'))
            .switch("no-wait", "Return as soon as the action is under way", None)
            .named(
                "timeout",
                SyntaxShape::Duration,
                "How long to wait; the service continues after that",
                Some('t'),
            )
            .input_output_type(Type::Nothing, Type::table())
    }

    fn description(&self) -> &'static str {
        "Run one command line as a supervised service outside the file."
    }

    fn extra_description(&self) -> &'static str {
        "The service has a log, a health check and restarts, like any other, and outlives this shell and a \
         killed daemon. The service is transient: after its end its state, exit code and log are available \
         for five minutes (`forget_transient` in services.toml), and then it is deleted. It does not survive \
         a reboot. `service remove` deletes the service at once; with --keep it stays. One string is split \
         into words as in services.toml, and nothing is expanded; words after `--` are used unchanged. The \
         environment is that of the daemon, with the variables of --env. Without a services.toml the command \
         creates an empty one in $env.XDG_CONFIG_HOME/service-orchestrator."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["systemd-run", "transient", "background", "job", "nohup", "spawn"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service run --name tunnel 'ssh -N host' --restart always",
                description: "Run a tunnel",
                result: None,
            },
            Example {
                example: "service run --health http://localhost:8000 -- python3 -m http.server 8000",
                description: "Serve this directory, and wait until the server is healthy",
                result: None,
            },
            Example {
                example: "service run --oneshot --shell sh 'make all > build.log' | get 0.ok",
                description: "Run a job, wait for its end, and get its success",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let words = words(call)?;
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            return Err(invalid_call("no_command", "missing command line", "run what?", call.head)
                .with_help("give a command line as one string, or as words after `--`"));
        };
        let command = Span::new(first.span.start, last.span.end);
        let timeout = run_action::timeout(call)?;
        let mut session = Session::open_anywhere(plugin, engine, call)?;
        // A local directory has no meaning on another machine.
        let here = || shell::here(engine).map_err(|problem| labeled_at(&problem, call.head));
        let here = if session.is_remote() { None } else { Some(here()?.display().to_string()) };
        let keys = definition(here.as_deref(), call, &words)?;
        let body = service_api::AddRequest { services: vec![keys], transient: !call.has_flag("keep")? };
        let place = |cell: &Cell| {
            let key = cell.path.first()?;
            let flag = KEYS.iter().find(|(_, known)| known == key).map(|(flag, _)| *flag);
            flag.and_then(|flag| value_span(call, flag)).or(Some(command))
        };
        let name = match send(&session, body, place)?.pop() {
            Some(added) => added.name,
            None => return Err(invalid_call("internal", "nothing was added", "failed here", call.head)),
        };
        session.names = vec![Spanned { item: name.clone(), span: command }];
        let request = service_api::ActionRequest {
            names: vec![name],
            wait: !call.has_flag("no-wait")?,
            if_hash: session.trusted_hash(),
            timeout_ms: timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            ..service_api::ActionRequest::default()
        };
        let due =
            timeout.and_then(|limit| Instant::now().checked_add(limit + crate::session::RESPONSE_GRACE));
        run_action::send(ActionKind::Start, request, session, due, false)
    }
}

/// The words of the command. Nushell parses `true` and `false` as booleans, but they are programs here.
fn words(call: &EvaluatedCall) -> Result<Vec<Spanned<String>>, LabeledError> {
    let word = |value: &Value| Ok(Spanned { item: value.coerce_string()?, span: value.span() });
    call.positional.iter().map(word).collect()
}

/// The definition in the form of services.toml.
fn definition(
    here: Option<&str>,
    call: &EvaluatedCall,
    words: &[Spanned<String>],
) -> Result<Map<String, Json>, LabeledError> {
    let mut keys = Map::new();
    for (flag, key) in KEYS {
        if let Some(value) = call.get_flag_value(flag) {
            keys.insert(key.to_owned(), value_conversion::to_json(&value)?);
        }
    }
    let there = keys.get("working_dir").and_then(Json::as_str);
    let working_dir = match (here, there) {
        (Some(here), Some(there)) => Some(Path::new(here).join(there).display().to_string()),
        (Some(here), None) => Some(here.to_owned()),
        (None, _) => None,
    };
    if let Some(working_dir) = working_dir {
        keys.insert("working_dir".to_owned(), working_dir.into());
    }
    if call.has_flag("oneshot")? {
        keys.insert("oneshot".to_owned(), true.into());
    }
    let command = match words {
        [line] => line.item.as_str().into(),
        words => words.iter().map(|word| word.item.as_str()).collect::<Json>(),
    };
    keys.insert("start_command".to_owned(), command);
    Ok(keys)
}

fn value_span(call: &EvaluatedCall, flag: &str) -> Option<Span> {
    call.get_flag_value(flag).as_ref().map(Value::span)
}
