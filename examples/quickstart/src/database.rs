//! The database: stores numbers by key, in a file of `key number` lines.

use crate::lines::{self, Request};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

type Table = BTreeMap<String, u64>;

/// Serves the contents of the file, and saves changes in it.
pub(crate) fn serve(port: u16, file: PathBuf) -> io::Result<()> {
    // One writer at a time: the file must contain the last answered change.
    let table = Mutex::new(load(&file)?);
    lines::serve(port, move |request| {
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        match request {
            Request::Get(key) => Ok(table.get(*key).copied().unwrap_or(0)),
            Request::Add(key) => {
                let number = table.entry((*key).to_string()).or_default();
                *number += 1;
                let number = *number;
                save(&file, &table)?;
                Ok(number)
            }
        }
    })
}

fn load(file: &Path) -> io::Result<Table> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let parse =
        |line: &str| line.split_once(' ').and_then(|(key, number)| Some((key.into(), number.parse().ok()?)));
    text.lines()
        .map(|line| {
            parse(line).ok_or_else(|| io::Error::other(format!("cannot read `{line}` in {}", file.display())))
        })
        .collect()
}

/// Writes a new file and renames it over the old one, so that a power failure leaves the old table or the new one.
fn save(file: &Path, table: &Table) -> io::Result<()> {
    let text = table.iter().fold(String::new(), |mut text, (key, number)| {
        let _ = writeln!(text, "{key} {number}"); // writing to a String cannot fail
        text
    });
    let aside = file.with_extension("new");
    fs::write(&aside, text)?;
    fs::rename(aside, file)
}
