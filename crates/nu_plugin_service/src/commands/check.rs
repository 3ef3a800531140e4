//! `service check`.

use super::signature::signature;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type};
use service_api::{Code, Finding, Problem, finding::Severity};
use service_nushell::error::labeled_at;
use service_nushell::shell;
use service_nushell::table::table;
use std::fmt::Write;
use std::path::Path;

pub(super) struct CheckCommand;

impl PluginCommand for CheckCommand {
    type Plugin = ServicePlugin;

    fn name(&self) -> &'static str {
        "service check"
    }

    fn signature(&self) -> Signature {
        signature(self.name())
            .optional("file", SyntaxShape::Filepath, "The file to check instead of the project's own")
            .switch("strict", "Fail if there is an error, and report every problem in it: for CI", None)
            .input_output_type(Type::Nothing, Type::table())
    }

    fn description(&self) -> &'static str {
        "Show all errors and warnings of a services.toml."
    }

    fn extra_description(&self) -> &'static str {
        "An error means that no service can be started with this file. A warning means that the file is \
         valid, and that a part of it will not work on this machine, for example a program that is not on \
         PATH. The command only reads a local file, and uses no daemon. An empty table means that there is no \
         problem. The command succeeds even with errors. For CI use `nu -c 'service check --strict'`: it \
         exits with 1 if there is an error, and prints each problem with its line on standard error. Without \
         Nushell use `orchestratord check`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["validate", "lint", "verify", "errors", "warnings"]
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "service check | where severity == error",
                description: "Show only errors",
                result: None,
            },
            Example {
                example: "service check deploy/services.toml --strict",
                description: "For CI: exit code 1 if there is an error, with every problem on standard error",
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
        let session = match call.opt::<Spanned<String>>(0)? {
            Some(file) => Session::open_at(
                plugin,
                engine,
                call,
                &Selection::Unspecified,
                Some(Path::new(&file.item)),
                file.span,
            )?,
            None => Session::open_here(plugin, engine, call, &Selection::Unspecified)?,
        };
        // Only Nushell can check a manager module.
        let nu = shell::nu().map(|nu| nu.to_string_lossy().into_owned());
        let words =
            ["check".to_owned()].into_iter().chain(nu.into_iter().flat_map(|nu| ["--nu".to_owned(), nu]));
        let findings: Vec<Finding> = session.one_shot(words.collect())?;
        match call.has_flag("strict")?.then(|| check_result(&findings)).flatten() {
            // The error replaces the rows, because Nushell shows no rows of a table that ends with an error.
            Some(problem) => Err(labeled_at(&problem, call.head)),
            None => Ok(table(findings, call.head)),
        }
    }
}

/// The error of a strict check, with all findings.
fn check_result(findings: &[Finding]) -> Option<Problem> {
    let first = findings.iter().find(|finding| finding.severity == Severity::Error)?;
    let mut messages = vec![format!("cannot start services with `{}`", first.file)];
    messages.extend(findings.iter().map(describe));
    Some(Problem::new(Code::BadDefinition, messages.join("\n\n")))
}

fn describe(finding: &Finding) -> String {
    let mut words = format!("{}: {}", finding.severity.as_str(), finding.message);
    if let (Some(line), Some(column)) = (finding.line, finding.column) {
        let _ = write!(words, "\n --> {}:{line}:{column}", finding.file); // writing to a string cannot fail
    }
    if let Some(help) = &finding.help {
        let _ = write!(words, "\nhelp: {help}");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity) -> Finding {
        let (service, key) = Default::default();
        let [message, file] = ["no", "f"].map(String::from);
        let (line, column, help) = (Some(3), Some(1), Some("do".into()));
        Finding { severity, service, key, message, file, line, column, help }
    }

    #[test]
    fn only_errors_fail_a_strict_check() {
        assert!(check_result(&[finding(Severity::Warning)]).is_none());
        let found = check_result(&[finding(Severity::Warning), finding(Severity::Error)]).unwrap();
        assert_eq!(
            found.message,
            "cannot start services with `f`\n\nwarning: no\n --> f:3:1\nhelp: do\n\nerror: no\n --> f:3:1\nhelp: do"
        );
    }
}
