//! [`Across`]: a command that also accepts rows of `service projects` from the pipe, and then runs in each of these
//! projects.
//!
//! Every project is called before the first row is returned, so that the command acts on all projects even if the
//! consumer reads only some rows. An error in one project does not stop the others.

use crate::plugin::ServicePlugin;
use nu_plugin::{DynamicCompletionCall, EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::engine::ArgType;
use nu_protocol::{
    DynamicSuggestion, Example, IntoInterruptiblePipelineData, LabeledError, PipelineData, ShellError,
    Signature, Span, Spanned, Value,
};
use service_api::Code;
use service_nushell::error::{code, invalid_call};

/// The column with the project of a row.
const PROJECT: &str = "project";

/// A command that runs across projects.
pub(super) struct Across<C>(pub(super) C);

impl<C: PluginCommand<Plugin = ServicePlugin>> PluginCommand for Across<C> {
    type Plugin = ServicePlugin;

    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> Signature {
        self.0.signature()
    }

    fn description(&self) -> &str {
        self.0.description()
    }

    fn extra_description(&self) -> &str {
        self.0.extra_description()
    }

    fn search_terms(&self) -> Vec<&str> {
        self.0.search_terms()
    }

    fn examples(&self) -> Vec<Example<'_>> {
        self.0.examples()
    }

    fn run(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let input = match input {
            PipelineData::ListStream(..) => PipelineData::value(input.into_value(call.head)?, None),
            input => input,
        };
        let projects = match &input {
            // An empty table of projects selects no daemon, not even the present project's. Other commands handle an
            // empty table themselves.
            PipelineData::Value(Value::List { vals, .. }, _) if vals.is_empty() && self.is_about_daemon() => {
                Some(Projects::Many(Vec::new()))
            }
            PipelineData::Value(value, _) => projects(value),
            _ => None,
        };
        let run = |call: &EvaluatedCall, input| self.0.run(plugin, engine, call, input);
        match projects {
            None => run(call, input),
            // With `--config` the piped input may be the item of a closure, so it is ignored.
            Some(_) if call.get_flag_value("config").is_some() => run(call, PipelineData::empty()),
            Some(Projects::One(path)) => run(&call_for(call, path), PipelineData::empty()),
            Some(Projects::Many(_)) if call.has_flag("follow")? => Err(invalid_call(
                "bad_request",
                "cannot follow several projects at once",
                "which one?",
                call.head,
            )
            .with_help("pipe in one row, as in `service projects | first | service logs --follow`")),
            Some(Projects::Many(paths)) => Ok(self.each(paths, engine, call, run)),
        }
    }

    #[expect(deprecated, reason = "the last argument marks the method as experimental")]
    fn get_dynamic_completion(
        &self,
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: DynamicCompletionCall,
        argument: ArgType,
        marker: ::nu_protocol::engine::ExperimentalMarker,
    ) -> Option<Vec<DynamicSuggestion>> {
        self.0.get_dynamic_completion(plugin, engine, call, argument, marker)
    }
}

impl<C: PluginCommand<Plugin = ServicePlugin>> Across<C> {
    fn is_about_daemon(&self) -> bool {
        self.0.name().starts_with("service daemon")
    }

    fn each(
        &self,
        paths: Vec<Spanned<String>>,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        run: impl Fn(&EvaluatedCall, PipelineData) -> Result<PipelineData, LabeledError>,
    ) -> PipelineData {
        // A deleted project has no rows, and a daemon that does not run need not be stopped.
        let is_nothing = |error: &LabeledError| match error.code.as_deref() {
            Some(found) if found == code(Code::NoProject) => true,
            Some(found) if found == code(Code::DaemonUnreachable) => self.is_about_daemon(),
            _ => false,
        };
        let (mut answers, mut failed) = (Vec::new(), Vec::new());
        for path in paths {
            match run(&call_for(call, path.clone()), PipelineData::empty()) {
                Ok(answer) => answers.push((path.item, answer)),
                Err(error) if is_nothing(&error) => {}
                Err(error) => failed.push(Value::error(ShellError::from(error), path.span)),
            }
        }
        let rows = ProjectRows { answers: answers.into_iter(), current: None, failed, head: call.head };
        rows.into_pipeline_data(call.head, engine.signals().clone())
    }
}

/// The rows of all projects, followed by the errors.
struct ProjectRows {
    answers: std::vec::IntoIter<(String, PipelineData)>,
    current: Option<(String, <PipelineData as IntoIterator>::IntoIter)>,
    failed: Vec<Value>,
    head: Span,
}

impl Iterator for ProjectRows {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((project, rows)) = &mut self.current {
                match rows.next() {
                    Some(error @ Value::Error { .. }) => self.failed.push(error),
                    Some(row) => return Some(with_project_column(row, project, self.head)),
                    None => self.current = None,
                }
            } else if let Some((project, answer)) = self.answers.next() {
                self.current = Some((project, answer.into_iter()));
            } else {
                return (!self.failed.is_empty()).then(|| self.failed.remove(0));
            }
        }
    }
}

fn with_project_column(row: Value, project: &str, head: Span) -> Value {
    match row {
        Value::Record { val, internal_span, .. } if val.get(PROJECT).is_none() => {
            let mut row = val.into_owned();
            row.push(PROJECT, Value::string(project, head));
            Value::record(row, internal_span)
        }
        row => row,
    }
}

/// The same call for another project.
fn call_for(call: &EvaluatedCall, path: Spanned<String>) -> EvaluatedCall {
    let name = Spanned { item: "config".to_owned(), span: path.span };
    call.clone().with_named(name, Value::string(path.item, path.span))
}

/// The projects that the piped rows name.
enum Projects {
    One(Spanned<String>),
    Many(Vec<Spanned<String>>),
}

/// The projects of these rows; `None` if they are not rows of `service projects`.
fn projects(value: &Value) -> Option<Projects> {
    match value {
        Value::List { vals, .. } if !vals.is_empty() => {
            vals.iter().map(project).collect::<Option<_>>().map(Projects::Many)
        }
        row => project(row).map(Projects::One),
    }
}

/// The project of a row of `service projects`. Such a row has no service name, but a path and either the daemon's state
/// or the state directory.
fn project(row: &Value) -> Option<Spanned<String>> {
    let Value::Record { val, .. } = row else { return None };
    let is_about_one = val.contains("daemon") || val.contains("state_dir");
    if val.contains("name") || val.contains("service") || !is_about_one {
        return None;
    }
    let path = val.get("path")?;
    Some(Spanned { item: path.as_str().ok()?.to_owned(), span: row.span() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nu_protocol::record;

    fn row(path: &str) -> Value {
        let text = Value::test_string;
        Value::test_record(record! {"path" => text(path), "daemon" => text("none")})
    }

    #[test]
    fn rows_of_projects_are_told_from_rows_of_services() {
        let Some(Projects::One(one)) = projects(&row("/a")) else { panic!() };
        assert_eq!(one.item, "/a");
        let Some(Projects::Many(two)) = projects(&Value::test_list(vec![row("/a"), row("/b")])) else {
            panic!()
        };
        assert_eq!(two.iter().map(|path| path.item.as_str()).collect::<Vec<_>>(), ["/a", "/b"]);
        let service = Value::test_record(record! {"name" => Value::test_string("web")});
        let file = Value::test_record(record! {"path" => Value::test_string("/a")});
        let mixed = Value::test_list(vec![row("/a"), service.clone()]);
        for other in [Value::test_list(vec![]), Value::test_string("/a"), service, file, mixed] {
            assert!(projects(&other).is_none(), "{other:?}");
        }
    }
}
