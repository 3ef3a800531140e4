//! [`RunDefinitions`]: the definition of each service's last run, for later daemons.
//!
//! All definitions of a project are in one file, to which a turn of the engine appends once: a start creates no file. Each
//! line has a checksum. A line is the definition of a run, or the number of a later run with the same definition, or
//! the number 0 of a removed service. The last line of a service counts. A file that consists mostly of outdated lines
//! is replaced.
//!
//! Environment values are stored as [salted hashes](crate::fingerprint).

use crate::fingerprint::{hide_values, restore_values};
use serde::{Deserialize, Serialize};
use service_core::Name;
use service_core::config::{Manager, Service};
use service_host::disk::{self, Disk};
use service_host::fs::write_private;
use service_host::paths::SERVICES;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The name in the state directory.
const FILE: &str = "definitions.jsonl";
/// The name in the directory of a service, where former versions stored its definition.
const FORMER_FILE: &str = "definition.json";
/// A file below this size is not replaced.
const MIN_REPLACED_BYTES: u64 = 64 * 1024;
/// A file of this many times the size of its current lines is replaced.
const MAX_GROWTH: u64 = 4;

/// A line with a definition.
#[derive(Serialize, Deserialize)]
struct StoredRun {
    run: u64,
    /// The salt of this line.
    #[serde(default)]
    salt: u64,
    definition: Service,
}

/// A line without a definition.
#[derive(Serialize)]
struct RepeatedRun<'a> {
    service: &'a Name,
    run: u64,
}

/// The part of a line that tells what it is about.
#[derive(Deserialize)]
struct LineHead {
    run: u64,
    service: Option<Name>,
    definition: Option<DefinitionHead>,
}

/// The part of a definition that tells what it is about.
#[derive(Deserialize)]
struct DefinitionHead {
    name: Name,
    manager: Manager,
}

/// A run that begins.
#[derive(Debug, Clone, Copy)]
pub struct BegunRun<'a> {
    /// The definition of the run.
    pub definition: &'a Service,
    /// The number of the run.
    pub run: u64,
    /// Whether the last run had the same definition, and it was saved.
    pub is_repeated: bool,
}

/// The last runs of a project.
#[derive(Debug)]
pub struct RunDefinitions {
    state_dir: PathBuf,
    disk: Disk,
    /// The lock is held during a write, never across an await.
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    /// The length of all current lines with a definition.
    length: u64,
    runs: BTreeMap<Name, LastRun>,
}

/// The last run of a service.
#[derive(Debug)]
struct LastRun {
    run: u64,
    manager: Manager,
    /// The line with the definition.
    line: Box<[u8]>,
}

impl RunDefinitions {
    /// Reads the file of a project; without one, those of a former version.
    ///
    /// # Errors
    /// A file cannot be read. Damaged lines are skipped.
    pub fn open(state_dir: &Path, disk: Disk) -> io::Result<Self> {
        let mut contents = Contents::default();
        match std::fs::read(state_dir.join(FILE)) {
            Ok(bytes) => contents.read_lines(&bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                for former in former_files(state_dir)? {
                    contents.read_former(&former)?;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Self { state_dir: state_dir.to_owned(), disk, contents: Mutex::new(contents) })
    }

    /// Creates the file if it does not exist, so that no start has to. Files of a former version are taken over.
    ///
    /// # Errors
    /// The file cannot be written. A later save tries again.
    pub fn create(&self) -> io::Result<()> {
        if self.state_dir.join(FILE).exists() {
            return Ok(());
        }
        self.write(&mut self.lock(), &[], Vec::new())
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves the definitions of runs, with one write. Without them, the next daemon uses the definitions in the file.
    ///
    /// # Errors
    /// Nothing was saved.
    pub fn save(&self, begun: &[BegunRun<'_>]) -> io::Result<()> {
        let mut contents = self.lock();
        let (mut lines, mut runs) = (Vec::new(), Vec::new());
        for BegunRun { definition, run, is_repeated } in begun.iter().copied() {
            let known = contents.runs.get(&definition.name).filter(|_| is_repeated);
            let (line, definition_line) = match known {
                Some(known) => (repetition(&definition.name, run)?, known.line.clone()),
                None => {
                    let line = serialize(definition, run)?;
                    (line.clone(), line.into_boxed_slice())
                }
            };
            push_line(&mut lines, &line);
            let last = LastRun { run, manager: definition.manager.clone(), line: definition_line };
            runs.push((definition.name.clone(), last));
        }
        self.write(&mut contents, &lines, runs)?;
        if begun.iter().any(|run| run.definition.is_managed()) {
            // The runs of managers survive the machine.
            self.disk.mark(&self.state_dir.join(FILE));
        }
        Ok(())
    }

    /// Removes the last run of a service. An error is logged: the run is removed with the next write.
    pub fn remove(&self, name: &Name) {
        let mut contents = self.lock();
        if contents.remove(name).is_none() {
            return;
        }
        let written = repetition(name, 0).and_then(|line| {
            let mut lines = Vec::new();
            push_line(&mut lines, &line);
            self.write(&mut contents, &lines, Vec::new())
        });
        if let Err(error) = written {
            tracing::warn!(service = %name, %error, "cannot remove its last definition");
        }
    }

    /// Appends lines, and replaces the file if it is gone or mostly outdated.
    fn write(&self, contents: &mut Contents, lines: &[u8], runs: Vec<(Name, LastRun)>) -> io::Result<()> {
        let path = self.state_dir.join(FILE);
        let length = match append(&path, lines) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            length => Some(length?),
        };
        contents.extend(runs);
        match length {
            None => contents.replace(&path).inspect(|()| remove_former_files(&self.state_dir)),
            Some(length) if length > MIN_REPLACED_BYTES.max(contents.length * MAX_GROWTH) => {
                contents.replace(&path)
            }
            Some(_) => Ok(()),
        }
    }

    /// The definition of this run, if it was saved. A variable with an unchanged value gets the value of `now`; any other
    /// variable has only its hash.
    pub fn load(&self, now: &Service, run: u64) -> Option<Service> {
        let contents = self.lock();
        let last = contents.runs.get(&now.name).filter(|last| last.run == run)?;
        let StoredRun { salt, mut definition, .. } = disk::verify_checksum(&last.line).ok()?;
        restore_values(&mut definition, salt, now);
        Some(definition)
    }

    /// The number of the last run of a service; 0 without a saved one.
    pub fn last_run(&self, name: &Name) -> u64 {
        self.lock().runs.get(name).map_or(0, |last| last.run)
    }

    /// The manager of the last run of a service, if it was saved.
    pub fn last_manager(&self, name: &Name) -> Option<Manager> {
        self.lock().runs.get(name).map(|last| last.manager.clone())
    }

    /// The managers of all last runs.
    pub fn managers(&self) -> Vec<Manager> {
        self.lock().runs.values().map(|last| last.manager.clone()).collect()
    }
}

impl Contents {
    fn extend(&mut self, runs: Vec<(Name, LastRun)>) {
        for (name, last) in runs {
            self.insert(name, last);
        }
    }

    fn insert(&mut self, name: Name, last: LastRun) {
        self.length += last.line.len() as u64;
        if let Some(outdated) = self.runs.insert(name, last) {
            self.length -= outdated.line.len() as u64;
        }
    }

    fn remove(&mut self, name: &Name) -> Option<LastRun> {
        self.runs.remove(name).inspect(|removed| self.length -= removed.line.len() as u64)
    }

    /// Replaces the file by one without outdated lines.
    fn replace(&self, path: &Path) -> io::Result<()> {
        let mut lines = Vec::new();
        for (name, last) in &self.runs {
            push_line(&mut lines, &last.line);
            if disk::verify_checksum::<LineHead>(&last.line)?.run != last.run {
                push_line(&mut lines, &repetition(name, last.run)?);
            }
        }
        write_private(path, &lines)
    }

    fn read_lines(&mut self, bytes: &[u8]) {
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(head) = disk::verify_checksum::<LineHead>(line) else { continue };
            match head {
                LineHead { run, definition: Some(DefinitionHead { name, manager }), .. } => {
                    self.insert(name, LastRun { run, manager, line: line.into() });
                }
                LineHead { run: 0, service: Some(name), .. } => drop(self.remove(&name)),
                LineHead { run, service: Some(name), .. } => {
                    if let Some(last) = self.runs.get_mut(&name) {
                        last.run = run;
                    }
                }
                LineHead { .. } => {}
            }
        }
    }

    /// Reads the file of one service. Its lines after the first one are the numbers of later runs.
    fn read_former(&mut self, path: &Path) -> io::Result<()> {
        let text = match std::fs::read(path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(());
            }
            text => text?,
        };
        let mut lines = text.split(|byte| *byte == b'\n');
        self.read_lines(lines.next().unwrap_or_default());
        let name = path.parent().and_then(Path::file_name).and_then(|name| Name::new(name.to_str()?).ok());
        let last = lines.rev().find_map(|line| disk::verify_checksum::<LineHead>(line).ok());
        if let (Some(known), Some(last)) = (name.and_then(|name| self.runs.get_mut(&name)), last) {
            known.run = last.run;
        }
        Ok(())
    }
}

/// Appends lines to an existing file. Returns its length.
fn append(path: &Path, lines: &[u8]) -> io::Result<u64> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let length = file.metadata()?.len();
    if let Err(error) = file.write_all(lines) {
        // If this fails as well, the torn line is skipped.
        let _ = file.set_len(length);
        return Err(error);
    }
    Ok(length + lines.len() as u64)
}

/// Adds a line. The line before it may be torn, so each one begins with a newline.
fn push_line(lines: &mut Vec<u8>, line: &[u8]) {
    lines.push(b'\n');
    lines.extend_from_slice(line);
}

fn repetition(service: &Name, run: u64) -> io::Result<Vec<u8>> {
    Ok(disk::append_checksum(serde_json::to_vec(&RepeatedRun { service, run })?))
}

fn serialize(definition: &Service, run: u64) -> io::Result<Vec<u8>> {
    let (salt, mut definition) = (RandomState::new().hash_one(run), definition.clone());
    hide_values(&mut definition, salt);
    Ok(disk::append_checksum(serde_json::to_vec(&StoredRun { run, salt, definition })?))
}

/// The files of a former version: one for each service.
fn former_files(state_dir: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(state_dir.join(SERVICES)) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        entries => entries?.map(|entry| Ok(entry?.path().join(FORMER_FILE))).collect(),
    }
}

fn remove_former_files(state_dir: &Path) {
    for path in former_files(state_dir).unwrap_or_default() {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_core::config::Command;

    fn open(state_dir: &Path) -> RunDefinitions {
        RunDefinitions::open(state_dir, Disk::default()).unwrap()
    }

    fn save(definitions: &RunDefinitions, definition: &Service, run: u64, is_repeated: bool) {
        definitions.save(&[BegunRun { definition, run, is_repeated }]).unwrap();
    }

    fn web(command: &str) -> Service {
        let mut web = Service::new(Name::new("web").unwrap());
        web.start_command = Command { text: command.to_owned(), argv: vec![command.to_owned()] };
        web.env = vec![("KEY".to_owned(), "value".to_owned())];
        web
    }

    #[test]
    fn the_definition_of_the_last_run_is_known_and_of_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (definitions, web) = (open(directory.path()), web("one"));
        for run in 1..2_000 {
            save(&definitions, &web, run, run > 1);
            assert_eq!(definitions.load(&web, run), Some(web.clone()));
            assert_eq!(definitions.load(&web, run - 1), None);
        }
        let file = directory.path().join(FILE);
        assert!(file.metadata().unwrap().len() < 2 * MIN_REPLACED_BYTES);
        assert_eq!(open(directory.path()).load(&web, 1_999), Some(web.clone()));
        let torn = [&std::fs::read(&file).unwrap()[..], b"\n{\"ru"].concat();
        std::fs::write(&file, torn).unwrap();
        let definitions = open(directory.path());
        assert_eq!(definitions.load(&web, 1_999), Some(web.clone()));
        save(&definitions, &web, 2_000, true);
        assert_eq!(open(directory.path()).load(&web, 2_000), Some(web.clone()));
        std::fs::remove_file(&file).unwrap();
        save(&definitions, &web, 2_001, true);
        assert_eq!(open(directory.path()).load(&web, 2_001), Some(web), "the file was removed");
    }

    #[test]
    fn of_a_definition_that_has_changed_nothing_is_left_after_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let definitions = open(directory.path());
        let text = || std::fs::read_to_string(directory.path().join(FILE)).unwrap();
        save(&definitions, &web("outdated"), 1, false);
        assert!(!text().contains("value"), "{}", text());
        for run in 2..2_000 {
            save(&definitions, &web("two"), run, false);
        }
        assert_eq!(definitions.load(&web("two"), 1_999), Some(web("two")));
        assert!(!text().contains("outdated"));
        definitions.remove(&web("two").name);
        assert_eq!(open(directory.path()).last_run(&web("two").name), 0);
    }

    #[test]
    fn the_files_of_a_former_version_are_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let services = directory.path().join(SERVICES);
        let former = services.join("web").join(FORMER_FILE);
        std::fs::create_dir_all(former.parent().unwrap()).unwrap();
        let repeated = disk::append_checksum(b"{\"run\":5}".to_vec());
        std::fs::write(&former, [serialize(&web("one"), 3).unwrap(), b"\n".to_vec(), repeated].concat())
            .unwrap();
        assert_eq!(open(directory.path()).load(&web("one"), 5), Some(web("one")));
        open(directory.path()).create().unwrap();
        assert!(!former.exists());
        assert_eq!(open(directory.path()).load(&web("one"), 5), Some(web("one")));
    }
}
