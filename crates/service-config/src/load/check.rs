//! [`check`]: finds every error and every warning about a file, one row each.

use super::file::{analyze, read};
use super::key_map::{KeyMap, KeyPaths};
use super::lint::{self, Obstacle};
use super::section::Diagnostic;
use super::text::Text;
use service_api::{Finding, Severity, redact};
use service_core::config::Service;
use std::path::Path;

/// Reads the file and returns its errors and warnings, in the order of the file. `obstacles` finds obstacles on this
/// machine.
pub fn check(path: &Path, obstacles: impl Fn(&Service) -> Vec<Obstacle>) -> Vec<Finding> {
    let text = match read(path) {
        Ok(text) => text,
        Err(problem) => {
            return vec![Finding { help: problem.help, ..unreadable(path, problem.message) }];
        }
    };
    let map = KeyMap::parse(text.as_str());
    let key_paths = map.key_paths();
    let analysis = analyze(&text);
    let base = path.parent().unwrap_or(Path::new("/"));
    let lints = lint::check_services(&analysis.services, &map, base, obstacles);
    let errors = analysis.diagnostics.iter().map(|diagnostic| (Severity::Error, diagnostic));
    let mut all: Vec<_> = errors.chain(lints.iter().map(|(severity, lint)| (*severity, lint))).collect();
    all.sort_by_key(|(_, diagnostic)| diagnostic.span.start);
    if all.is_empty() && analysis.services.is_empty() {
        return vec![empty(path)];
    }
    all.into_iter().map(|(severity, diagnostic)| finding(severity, diagnostic, &text, &key_paths)).collect()
}

fn empty(path: &Path) -> Finding {
    Finding {
        severity: Severity::Warning,
        help: Some(
            "write a `[services.NAME]` with a `start_command`, or remove the `# ` before one".to_owned(),
        ),
        ..unreadable(path, "this file defines no service".to_owned())
    }
}

fn finding(severity: Severity, diagnostic: &Diagnostic, text: &Text, key_paths: &KeyPaths<'_>) -> Finding {
    let place = text.place(&diagnostic.span);
    let path = key_paths.path(&diagnostic.span);
    let (service, mut key) = match path.as_slice() {
        [first, service, key @ ..] if first == "services" => (Some(service.clone()), key.join(".")),
        path => (None, path.join(".")),
    };
    if key == "dependencies.name" {
        // A dependency may be a string or a table.
        "dependencies".clone_into(&mut key);
    }
    if let Some(missing) = diagnostic.missing {
        missing.clone_into(&mut key);
    }
    Finding {
        severity,
        service,
        key: Some(key).filter(|key| !key.is_empty()),
        message: redact(&diagnostic.message).into_owned(),
        file: place.file.clone(),
        line: Some(place.line),
        column: Some(place.column),
        help: help(diagnostic, text, place.line).map(|help| redact(&help).into_owned()),
    }
}

/// The help, which also names the other lines of the problem.
fn help(diagnostic: &Diagnostic, text: &Text, line: usize) -> Option<String> {
    let mut lines: Vec<usize> = diagnostic.also.iter().map(|span| text.line_number(span)).collect();
    lines.retain(|other| *other != line);
    lines.dedup();
    if lines.is_empty() {
        return diagnostic.help.clone();
    }
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let also = format!("see also line {}", lines.join(", "));
    Some(diagnostic.help.as_ref().map_or(also.clone(), |help| format!("{help}; {also}")))
}

fn unreadable(path: &Path, message: String) -> Finding {
    Finding {
        severity: Severity::Error,
        service: None,
        key: None,
        message,
        file: path.display().to_string(),
        line: None,
        column: None,
        help: None,
    }
}
