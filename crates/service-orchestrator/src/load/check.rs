//! [`check`]: everything that is wrong with a file, and what is doubtful about it, one row each.

use super::doubts;
use super::file::{read, understand};
use super::map::{Map, Ways};
use super::section::Fault;
use super::text::Text;
use service_api::{Finding, Severity, redact};
use std::path::Path;

/// Reads the file and tells all that is to be said about it, in the order of the file.
pub fn check(path: &Path) -> Vec<Finding> {
    let text = match read(path) {
        Ok(text) => text,
        Err(problem) => return vec![unreadable(path, problem.message)],
    };
    let map = Map::of(text.as_str());
    let ways = map.ways();
    let reading = understand(&text);
    let base = path.parent().unwrap_or(Path::new("/"));
    let doubts = doubts::all(&reading.services, &map, base);
    let errors = reading.faults.iter().map(|fault| (Severity::Error, fault));
    let mut all: Vec<_> = errors.chain(doubts.iter().map(|(severity, doubt)| (*severity, doubt))).collect();
    all.sort_by_key(|(_, fault)| fault.span.start);
    if all.is_empty() && reading.services.is_empty() {
        return vec![empty(path)];
    }
    all.into_iter().map(|(severity, fault)| finding(severity, fault, &text, &ways)).collect()
}

fn empty(path: &Path) -> Finding {
    Finding {
        severity: Severity::Warning,
        help: Some(
            "write a `[services.NAME]` with a `start_command`, or take the `# ` off the lines of one"
                .to_owned(),
        ),
        ..unreadable(path, "this file defines no service".to_owned())
    }
}

fn finding(severity: Severity, fault: &Fault, text: &Text, ways: &Ways<'_>) -> Finding {
    let place = text.place(&fault.span);
    let path = ways.path(&fault.span);
    let (service, mut key) = match path.as_slice() {
        [first, service, key @ ..] if first == "services" => (Some(service.clone()), key.join(".")),
        path => (None, path.join(".")),
    };
    if key == "dependencies.name" {
        // Written as a word or as a table, it is the same.
        "dependencies".clone_into(&mut key);
    }
    if let Some(missing) = fault.missing {
        missing.clone_into(&mut key);
    }
    Finding {
        severity,
        service,
        key: Some(key).filter(|key| !key.is_empty()),
        message: redact(&fault.message).into_owned(),
        file: place.file.clone(),
        line: Some(place.line),
        column: Some(place.column),
        help: help(fault, text, place.line).map(|help| redact(&help).into_owned()),
    }
}

/// The way out, and the other lines that the same problem is about.
fn help(fault: &Fault, text: &Text, line: usize) -> Option<String> {
    let mut lines: Vec<usize> = fault.also.iter().map(|span| text.line_of(span)).collect();
    lines.retain(|other| *other != line);
    lines.dedup();
    if lines.is_empty() {
        return fault.help.clone();
    }
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let also = format!("see also line {}", lines.join(", "));
    Some(fault.help.as_ref().map_or(also.clone(), |help| format!("{help}; {also}")))
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
