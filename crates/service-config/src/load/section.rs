//! [`Section`]: one TOML table. Each accessor has the name of the key that it reads. A key that no accessor reads is
//! unknown.

use jiff::SignedDuration;
use service_api::redact::cut;
use service_core::suggest::nearest;
use service_host::environment::RESERVED_VARIABLES;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The maximum length of a message. A longer one is truncated.
const MAX_MESSAGE_BYTES: usize = 2_000;

/// An error or a warning about a span of the file.
#[derive(Debug)]
pub(super) struct Diagnostic {
    pub(super) span: Range<usize>,
    /// Further spans of the same problem.
    pub(super) also: Vec<Range<usize>>,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// The missing key, if the problem is a missing key.
    pub(super) missing: Option<&'static str>,
}

impl Diagnostic {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        let message: String = message.into();
        let message = cut(&message, MAX_MESSAGE_BYTES).into_owned();
        Self { span, also: Vec::new(), message, help: None, missing: None }
    }
}

/// A table, its path for messages, and the list of diagnostics.
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    path: String,
    known: Vec<&'static str>,
    diagnostics: &'t RefCell<Vec<Diagnostic>>,
}

pub(super) type Value<'t> = Spanned<DeValue<'t>>;
pub(super) type Key<'t> = Spanned<Cow<'t, str>>;

impl<'t> Section<'t> {
    pub(super) fn new(
        table: &'t DeTable<'t>,
        path: impl Into<String>,
        diagnostics: &'t RefCell<Vec<Diagnostic>>,
    ) -> Self {
        Self { table, path: path.into(), known: Vec::new(), diagnostics }
    }

    /// The section of a table in a list below `outer`.
    pub(super) fn within(outer: &Self, table: &'t DeTable<'t>, key: &str) -> Self {
        Self::new(table, outer.child_path(key), outer.diagnostics)
    }

    /// The value of a key, which is recorded as known.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'t Value<'t>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// The spelling of a key that this table uses: `alias` if only the alias is given, else `key`.
    pub(super) fn spelling(&self, key: &'static str, alias: &'static str) -> &'static str {
        if self.table.contains_key(alias) && !self.table.contains_key(key) { alias } else { key }
    }

    /// Reads a value if the key is given. A value that `read` rejects is reported with `expected`, the description of
    /// valid values.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let taken = read(value.get_ref());
        if taken.is_none() {
            self.report_type(key, value, expected);
        }
        taken
    }

    fn report_type(&self, key: &str, value: &Value<'_>, expected: &str) {
        let found = value.get_ref().type_str();
        self.report(value.span(), format!("`{key}` should be {expected}, not this {found}"));
    }

    /// Reports an error at a span.
    pub(super) fn report(&self, span: Range<usize>, message: impl Into<String>) {
        self.push(Diagnostic::new(span, message));
    }

    pub(super) fn push(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// The span of the value of a key, if the key is given here.
    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.table.get(key).map(Value::span)
    }

    /// Reports an impossible value of the right type. A value from `service_defaults` is reported when the defaults are
    /// read.
    pub(super) fn report_contradiction(&self, key: &str, value: &str, help: &str) {
        if let Some(span) = self.span_of(key) {
            let mut diagnostic = Diagnostic::new(span, format!("`{key}` cannot be {value}"));
            diagnostic.help = Some(help.to_owned());
            self.push(diagnostic);
        }
    }

    /// Reports that this table lacks a key.
    pub(super) fn report_missing_key(&self, message: &str) {
        let span = self.table.iter().map(|(key, _)| key.span()).next().unwrap_or_default();
        self.report(span, message);
    }

    pub(super) fn string(&mut self, key: &'static str, set: impl FnOnce(String)) {
        let read = |value: &DeValue<'_>| value.as_str().map(str::to_owned);
        if let Some(text) = self.read(key, "a string", read).filter(|text| self.has_no_nul(key, text)) {
            set(text);
        }
    }

    pub(super) fn flag(&mut self, key: &'static str, target: &mut bool) {
        if let Some(value) = self.read(key, "true or false", DeValue::as_bool) {
            *target = value;
        }
    }

    pub(super) fn duration(&mut self, key: &'static str, target: &mut Duration) {
        let expected = "a duration such as \"500ms\", \"10s\" or \"1m 30s\"";
        if let Some(value) = self.read(key, expected, |value| parse_duration(value.as_str()?)) {
            *target = value;
        }
    }

    /// Reads a whole number that fits into `T`.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, key: &'static str, target: &mut T) {
        if let Some(value) = self.read(key, "a whole number in range", |value| integer(value)) {
            *target = value;
        }
    }

    /// Reads one of a fixed set of strings.
    pub(super) fn choice<T: Copy, const N: usize>(
        &mut self,
        key: &'static str,
        all: &[(&'static str, T); N],
        target: &mut T,
    ) {
        let Some(value) = self.get(key) else { return };
        match value.get_ref().as_str().map(|text| all.iter().find(|(word, _)| *word == text)) {
            Some(Some((_, found))) => *target = *found,
            _ => {
                let words: Vec<String> = all.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                let suggestion = value
                    .get_ref()
                    .as_str()
                    .and_then(|text| nearest(text, all.iter().map(|(word, _)| *word)))
                    .map(|word| format!("did you mean \"{word}\"?"));
                let mut diagnostic =
                    Diagnostic::new(value.span(), format!("`{key}` should be one of {}", words.join(", ")));
                diagnostic.help = suggestion;
                self.push(diagnostic);
            }
        }
    }

    /// Reads an environment: a table of strings. A name or a value that the kernel cannot pass on is reported.
    pub(super) fn environment(&mut self, key: &'static str) -> Vec<(String, String)> {
        let expected = "a table of strings";
        let Some(table) = self.read(key, expected, DeValue::as_table) else { return Vec::new() };
        let mut pairs = Vec::new();
        for (name, value) in table {
            let (spelled, text) = (name.get_ref(), scalar(value.get_ref()));
            if RESERVED_VARIABLES.contains(&&**spelled) {
                let mut diagnostic = Diagnostic::new(name.span(), format!("`{spelled}` cannot be set"));
                diagnostic.help = Some("remove it: it is set for each run".to_owned());
                self.push(diagnostic);
            } else if spelled.is_empty() || spelled.contains(['=', '\0']) {
                let mut diagnostic =
                    Diagnostic::new(name.span(), format!("{spelled:?} cannot be the name of a variable"));
                diagnostic.help = Some("a name is not empty, and contains no `=` and no NUL".to_owned());
                self.push(diagnostic);
            } else if text.as_ref().is_some_and(|text| text.contains('\0')) {
                self.report(value.span(), format!("`{spelled}` cannot contain a NUL"));
            } else if let Some(text) = text {
                pairs.push((spelled.to_string(), text));
            } else {
                self.report_type(spelled, value, "a string, a number, true or false");
            }
        }
        pairs
    }

    /// Reads a string or a list of strings.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<String> {
        self.read(key, "a string or a list of strings", |value| match value {
            DeValue::Array(values) => {
                values.iter().map(|value| value.get_ref().as_str().map(str::to_owned)).collect()
            }
            other => other.as_str().map(|text| vec![text.to_owned()]),
        })
        .filter(|texts| texts.iter().all(|text| self.has_no_nul(key, text)))
        .unwrap_or_default()
    }

    /// Whether the text has no NUL, at which the kernel would truncate it. A NUL is reported.
    pub(super) fn has_no_nul(&self, key: &str, text: &str) -> bool {
        let fits = !text.contains('\0');
        if !fits {
            self.report(self.span_of(key).unwrap_or_default(), format!("`{key}` cannot contain a NUL"));
        }
        fits
    }

    /// The section of a table within this one.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        let table = self.read(key, "a table", DeValue::as_table)?;
        Some(Self::new(table, self.child_path(key), self.diagnostics))
    }

    /// Like [`Section::section`], for a key that is already known.
    pub(super) fn inner(&self, key: &str) -> Option<Self> {
        let table = self.table.get(key)?.get_ref().as_table()?;
        Some(Self::within(self, table, key))
    }

    /// Every table within this one, with its key.
    pub(super) fn sections(self) -> impl Iterator<Item = (&'t Key<'t>, Self)> {
        let table = self.table;
        table.iter().filter_map(move |(key, value)| match value.get_ref().as_table() {
            Some(inner) => Some((key, Self::new(inner, self.child_path(key.get_ref()), self.diagnostics))),
            None => {
                self.report_type(key.get_ref(), value, "a table");
                None
            }
        })
    }

    fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reports every key that no accessor has read.
    pub(super) fn reject_unknown_keys(self) {
        for (key, value) in self.table.iter().filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref()))
        {
            let place = if self.path.is_empty() { String::new() } else { format!(" in [{}]", self.path) };
            let mut diagnostic =
                Diagnostic::new(key.span(), format!("unknown key `{}`{place}", key.get_ref()));
            let known = || self.known.iter().copied();
            let ours = own_name(key.get_ref()).filter(|name| self.known.contains(name));
            if let Some(help) = self.quoted_name(key.get_ref(), value, &self.known) {
                diagnostic.help = Some(help);
                self.push(diagnostic);
                continue;
            }
            diagnostic.help = Some(match ours.or_else(|| nearest(key.get_ref(), known())) {
                Some(word) => format!("did you mean `{word}`?"),
                None => {
                    // A key may be recorded twice.
                    let mut seen = BTreeSet::new();
                    let keys: Vec<&str> = known().filter(|key| seen.insert(*key)).collect();
                    format!("known keys: {}", keys.join(", "))
                }
            });
            self.push(diagnostic);
        }
    }

    /// The help for a service whose name has dots without quotation marks, and which therefore has no `start_command`.
    pub(super) fn help_for_missing_command(&self) -> Option<String> {
        self.table.iter().find_map(|(key, value)| self.quoted_name(key.get_ref(), value, &["start_command"]))
    }

    /// The help for a service whose name has dots without quotation marks: in the section of a service, the table `key`
    /// has one of these keys of a service.
    fn quoted_name(&self, key: &str, value: &Value<'_>, keys: &[&str]) -> Option<String> {
        let service =
            self.path.strip_prefix("services.").filter(|_| self.known.contains(&"start_command"))?;
        let is_definition = |table: &DeTable<'_>| keys.iter().any(|key| table.contains_key(*key));
        let (mut name, mut table) = (format!("{service}.{key}"), value.get_ref().as_table()?);
        while !is_definition(table) {
            let (key, value) = table.iter().next()?;
            name = format!("{name}.{}", key.get_ref());
            table = value.get_ref().as_table()?;
        }
        Some(format!("write a name with a dot in quotation marks: [services.\"{name}\"]"))
    }
}

/// The key for a name that other supervisors use: Compose, systemd, supervisord, process-compose, pm2.
fn own_name(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase().replace(['-', '_'], "");
    Some(match &*key {
        "cmd" | "command" | "exec" | "execstart" | "run" | "script" | "program" | "entrypoint" => {
            "start_command"
        }
        "execstop" | "stopcmd" | "shutdowncommand" => "stop_command",
        "dependson" | "after" | "requires" | "needs" | "wants" | "bindsto" => "dependencies",
        "cwd" | "dir" | "directory" | "workdir" | "workingdirectory" | "chdir" => "working_dir",
        "environment" | "vars" | "variables" => "env",
        "environmentfile" | "envfiles" | "dotenv" => "env_file",
        "healthcheck" | "readinessprobe" | "livenessprobe" | "check" => "health_check_endpoint",
        "autorestart" | "restartpolicy" => "restart",
        "stopsignal" | "killsignal" => "stop_signal",
        "stopgraceperiod" | "timeoutstopsec" | "stopwaitsecs" => "stop_timeout",
        "memlimit" | "memorymax" | "maxmemoryrestart" => "memory_limit",
        _ => return None,
    })
}

/// Parses a duration in jiff's "friendly" format, such as `1m 30s`. A negative one is rejected.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()
}

/// Parses a size in bytes: `10MB` is 10,000,000 and `10MiB` is 10 × 1,048,576. The case of the unit does not matter.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

/// A whole number in any base of TOML.
pub(super) fn integer<T: TryFrom<u64>>(value: &DeValue<'_>) -> Option<T> {
    let number = value.as_integer()?;
    T::try_from(u64::from_str_radix(number.as_str(), number.radix()).ok()?).ok()
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        // A variable has no base, so `0x10` becomes `16`.
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
