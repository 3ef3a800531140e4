//! The services of one run: thirty in a random graph, and six independent ones.

use crate::chance::Chance;
use std::fmt::Write;
use std::path::Path;

/// The number of services in the graph.
const CONNECTED: usize = 30;
/// The number of independent services.
pub(crate) const ALONE: usize = 6;

/// The condition of one edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Started,
    Ready,
    Healthy,
    Completed,
}

impl Condition {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        }
    }
}

/// The way in which a service reports its readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Delay,
    Log,
    Notify,
    Socket,
    Completion,
}

/// One edge.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub(crate) name: String,
    pub(crate) condition: Condition,
    when_lost: &'static str,
}

/// One service.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) needs: Vec<Need>,
    pub(crate) readiness: Readiness,
    pub(crate) is_alone: bool,
    pub(crate) has_lines: bool,
    /// The number of rotated log files.
    pub(crate) log_files: usize,
    log_size: &'static str,
    restart: &'static str,
    words: Vec<String>,
}

impl Service {
    pub(crate) fn is_oneshot(&self) -> bool {
        self.readiness == Readiness::Completion
    }
}

/// All services, each after its dependencies.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) services: Vec<Service>,
}

/// The difference between a file and the file without errors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edit {
    /// Services with another environment.
    pub(crate) changed: Vec<(String, u64)>,
    /// A service that cannot be started.
    pub(crate) broken: Option<String>,
    /// A service that the file does not define.
    pub(crate) missing: Option<String>,
}

impl Graph {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed, &[1]);
        let mut services: Vec<Service> = Vec::new();
        for n in 0..CONNECTED {
            let service = connected(n, &services, &mut chance);
            services.push(service);
        }
        services.extend((0..ALONE).map(alone));
        Self { services }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The names of the services in the graph.
    pub(crate) fn connected(&self) -> Vec<String> {
        self.services.iter().filter(|service| !service.is_alone).map(|service| service.name.clone()).collect()
    }

    /// Services without dependents, which a file can omit.
    pub(crate) fn leaves(&self) -> Vec<String> {
        let is_needed = |name: &str| {
            self.services.iter().any(|service| service.needs.iter().any(|need| need.name == name))
        };
        self.connected().into_iter().filter(|name| !is_needed(name)).collect()
    }

    /// The text of the file.
    pub(crate) fn to_toml(&self, program: &Path, books: &Path, edit: &Edit) -> String {
        let mut text = String::new();
        for service in &self.services {
            if edit.missing.as_ref() != Some(&service.name) {
                text += &service.to_toml(program, books, edit);
            }
        }
        text
    }
}

impl Service {
    fn to_toml(&self, program: &Path, books: &Path, edit: &Edit) -> String {
        let mut words = vec![program.display().to_string(), books.display().to_string(), self.name.clone()];
        words.extend(self.words.iter().cloned());
        if edit.broken.as_ref() == Some(&self.name) {
            words.push("bad".into());
        }
        let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        let needs = self.needs.iter().map(|need| {
            let (name, condition, when_lost) = (&need.name, need.condition.as_str(), need.when_lost);
            format!("{{ name = \"{name}\", condition = \"{condition}\", when_lost = \"{when_lost}\" }}")
        });
        let needs: Vec<String> = needs.collect();
        let mark = edit.changed.iter().find(|(name, _)| *name == self.name).map_or(0, |(_, mark)| *mark);
        let mut text = format!(
            "[services.{}]\nstart_command = [{}]\ndependencies = [{}]\nrestart = \"{}\"\nstop_timeout = \"600ms\"\n\
             env = {{ MARK = \"{mark}\" }}\nbackoff = {{ initial = \"50ms\", max = \"500ms\", limit = 0 }}\n\
             log = {{ max_size = \"{}\", max_files = {} }}\n",
            self.name,
            quoted.join(", "),
            needs.join(", "),
            self.restart,
            self.log_size,
            self.log_files,
        );
        let more = match self.readiness {
            Readiness::Delay => "ready = { delay = \"150ms\" }".into(),
            Readiness::Log => "ready = { log = \"^READY \", timeout = \"20s\" }".into(),
            Readiness::Notify => "ready = { notify = true, timeout = \"20s\" }".into(),
            Readiness::Socket => format!(
                "health_check_endpoint = \"unix://{}/{}.sock\"\nhealth = {{ interval = \"500ms\" }}\nready = {{ timeout = \"20s\" }}",
                books.display(),
                self.name
            ),
            Readiness::Completion => "oneshot = true".into(),
        };
        let _ = writeln!(text, "{more}\n");
        text
    }
}

fn connected(n: usize, before: &[Service], chance: &mut Chance) -> Service {
    let is_oneshot = n > 1 && chance.percent(20);
    let readiness = match is_oneshot {
        true => Readiness::Completion,
        false => *chance.pick(&[
            Readiness::Delay,
            Readiness::Log,
            Readiness::Notify,
            Readiness::Socket,
            Readiness::Log,
        ]),
    };
    let mut words = Vec::new();
    let restart = if is_oneshot {
        words.push(format!("work={}", chance.between(0, 300)));
        if chance.percent(40) {
            words.push(format!("fail={}", chance.between(2, 5)));
        }
        *chance.pick(&["no", "on-failure"])
    } else {
        words.push(format!("warm={}", chance.below(200)));
        *chance.pick(&["no", "on-failure", "always", "unless-stopped", "always"])
    };
    match readiness {
        Readiness::Log => words.push("ready=log".into()),
        Readiness::Notify => words.push("ready=notify".into()),
        Readiness::Socket => words.push("ready=socket".into()),
        Readiness::Delay | Readiness::Completion => (),
    }
    for (word, cases) in [("deaf", 20), ("children", 25)] {
        if !is_oneshot && chance.percent(cases) {
            words.push(word.into());
        }
    }
    if !is_oneshot && chance.percent(30) {
        words.push(format!("crash={}", chance.between(300, 3000)));
    }
    let has_lines = !is_oneshot && chance.percent(70);
    let is_long = has_lines && chance.percent(25);
    if has_lines {
        words.push(format!("lines={}", chance.between(10, 60)));
    }
    if is_long {
        words.push("long".into());
    }
    let (log_size, log_files) = match chance.below(3) {
        0 => ("40KB", 6),
        1 => ("200KB", 5),
        _ => ("1MB", 2),
    };
    let mut service = Service {
        name: format!("s{n:02}"),
        needs: Vec::new(),
        readiness,
        is_alone: false,
        has_lines,
        log_files,
        log_size,
        restart,
        words,
    };
    for _ in 0..chance.below(4) {
        let Some(other) = (!before.is_empty()).then(|| chance.pick(before)) else { break };
        if service.needs.iter().any(|need| need.name == other.name) {
            continue;
        }
        let condition = match other.is_oneshot() {
            true => *chance.pick(&[Condition::Ready, Condition::Completed]),
            false => {
                *chance.pick(&[Condition::Started, Condition::Ready, Condition::Ready, Condition::Healthy])
            }
        };
        let when_lost = *chance.pick(&["keep", "restart", "stop", "keep"]);
        service.needs.push(Need { name: other.name.clone(), condition, when_lost });
    }
    service
}

/// An independent service. Only one client controls it, so the last response must remain true.
fn alone(n: usize) -> Service {
    let readiness = [
        Readiness::Notify,
        Readiness::Log,
        Readiness::Socket,
        Readiness::Delay,
        Readiness::Log,
        Readiness::Completion,
    ][n % ALONE];
    let words: &[&str] = match n % ALONE {
        0 => &["ready=notify", "children"],
        1 => &["ready=log", "deaf", "lines=20"],
        2 => &["ready=socket", "warm=50"],
        3 => &["lines=50", "long"],
        4 => &["ready=log", "warm=300"],
        _ => &["work=50"],
    };
    Service {
        name: format!("alone{n}"),
        needs: Vec::new(),
        readiness,
        is_alone: true,
        has_lines: words.iter().any(|word| word.starts_with("lines")),
        log_files: 5,
        log_size: "200KB",
        restart: if readiness == Readiness::Completion { "no" } else { "always" },
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    }
}
