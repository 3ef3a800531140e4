//! [`Session`]: one call of a command, with its project and its way to the daemon.

use crate::cancel::{Heard, Worker};
use crate::client::{Client, Clients};
use crate::daemon_address::DaemonAddress;
use crate::error::labeled;
use crate::plugin::ServicePlugin;
use crate::selector::{IN_A_CLOSURE, Selection};
use crate::{launch, orchestratord, project, remote};
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{LabeledError, PipelineData, ShellError, Span, Spanned};
use service_api::{Code, Problem, Project, routes, view};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// No answer that is not waited for on purpose takes longer.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a call knows from its beginning to its end.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) engine: EngineInterface,
    pub(crate) head: Span,
    /// The services it names, for marks in errors.
    pub(crate) names: Vec<Spanned<String>>,
    /// Whether those came through the pipe, where the item of a closure comes as well.
    piped: bool,
    place: Place,
    clients: Arc<Clients>,
}

/// Whose daemon is asked.
#[derive(Clone)]
enum Place {
    /// That of a project of this machine, which can be started.
    Here(Project),
    /// That which the shell is set to.
    There(DaemonAddress),
}

impl Selection {
    /// Reads the rest arguments and the pipe.
    pub(crate) fn read(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<Self, LabeledError> {
        Self::of(plugin, engine, call, call.rest(0)?, input)
    }

    /// Takes these names and the pipe.
    pub(crate) fn of(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        names: Vec<Spanned<String>>,
        input: PipelineData,
    ) -> Result<Self, LabeledError> {
        let known = || Session::open(plugin, engine, call, &Self::Unsaid)?.known();
        Self::choose(names, input, call.head, known)
    }
}

impl Session {
    /// Finds the daemon of this call: that of the project, unless the shell is set to another machine and no `--config` is
    /// given.
    pub(crate) fn open(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        selection: &Selection,
    ) -> Result<Self, LabeledError> {
        match there(engine, call)? {
            Some(way) => Ok(Self::at(plugin, engine, call, selection, Place::There(way))),
            None => Self::open_here(plugin, engine, call, selection),
        }
    }

    /// The project of this machine, wherever the shell is set to: for what is about its file.
    pub(crate) fn open_here(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        selection: &Selection,
    ) -> Result<Self, LabeledError> {
        let config: Option<PathBuf> = call.get_flag::<String>("config")?.map(PathBuf::from);
        let mark = call.get_flag_span("config").unwrap_or(call.head);
        Self::open_at(plugin, engine, call, selection, config.as_deref(), mark)
    }

    /// As [`Session::open`]; where there is no project it is the user's own.
    pub(crate) fn open_anywhere(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
    ) -> Result<Self, LabeledError> {
        if let Some(way) = there(engine, call)? {
            return Ok(Self::at(plugin, engine, call, &Selection::Unsaid, Place::There(way)));
        }
        let config: Option<PathBuf> = call.get_flag::<String>("config")?.map(PathBuf::from);
        let mark = call.get_flag_span("config").unwrap_or(call.head);
        let project = project::find_or_own(engine, config.as_deref());
        let project = project.map_err(|problem| labeled(&problem, &[], mark))?;
        Ok(Self::at(plugin, engine, call, &Selection::Unsaid, Place::Here(project)))
    }

    /// The project of this file, which is named at `mark`.
    pub(crate) fn open_at(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        selection: &Selection,
        config: Option<&Path>,
        mark: Span,
    ) -> Result<Self, LabeledError> {
        let project = project::find(engine, config).map_err(|problem| labeled(&problem, &[], mark))?;
        Ok(Self::at(plugin, engine, call, selection, Place::Here(project)))
    }

    fn at(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        selection: &Selection,
        place: Place,
    ) -> Self {
        Self {
            engine: engine.clone(),
            head: call.head,
            names: selection.names().to_vec(),
            piped: matches!(selection, Selection::Piped(_)),
            place,
            clients: Arc::clone(&plugin.clients),
        }
    }

    /// Whether the daemon is that of another machine, where our directories mean nothing.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.place, Place::There(_))
    }

    /// The hash that the content of the file must have, where it may be used only because that is trusted.
    pub(crate) fn trusted_hash(&self) -> Option<String> {
        match &self.place {
            Place::Here(project) => project.trusted_hash.clone(),
            Place::There(_) => None,
        }
    }

    /// Asks the daemon, which is started if it does not run.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, LabeledError> {
        let session = self.clone();
        self.patiently(move || question(&session.reach_or_start()?))
    }

    /// Asks the daemon about each selected service, all at the same time.
    pub(crate) fn ask_each<T: Send + 'static>(
        &self,
        selection: &Selection,
        question: impl Fn(&Client, &str) -> Result<T, Problem> + Send + Sync + 'static,
    ) -> Result<Vec<T>, LabeledError> {
        let selected: Vec<String> = selection.names().iter().map(|name| name.item.clone()).collect();
        self.ask(move |client| {
            let names = if selected.is_empty() { all_names(client)? } else { selected };
            std::thread::scope(|scope| {
                let asked: Vec<_> = names.iter().map(|name| scope.spawn(|| question(client, name))).collect();
                asked.into_iter().map(|answer| answer.join().unwrap_or_else(|_| Err(lost()))).collect()
            })
        })
    }

    /// The daemon, if it runs and speaks our version; blocks, for use on a thread of one's own.
    pub(crate) fn reach(&self) -> Result<Client, Problem> {
        match &self.place {
            Place::Here(project) => launch::connect(project, &self.clients),
            Place::There(way) => launch::reach(way, &self.clients),
        }
    }

    /// The daemon, started if it does not run here; blocks as well.
    pub(crate) fn reach_or_start(&self) -> Result<Client, Problem> {
        match &self.place {
            Place::Here(project) => launch::connect_or_start(project, &self.clients, &self.engine),
            Place::There(way) => launch::reach(way, &self.clients),
        }
    }

    /// Asks the daemon if it runs, whatever its version, and never starts it.
    pub(crate) fn ask_running<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, LabeledError> {
        let session = self.clone();
        self.patiently(move || {
            let project = match &session.place {
                Place::Here(project) => project,
                Place::There(way) => return question(&session.clients.to(way)?),
            };
            let answer = launch::running(project, &session.clients).and_then(|client| question(&client));
            answer.map_err(|problem| match problem.code {
                Code::DaemonUnreachable => {
                    let project = project.config.display();
                    Problem::new(Code::DaemonUnreachable, format!("no daemon is running for `{project}`"))
                        .help(
                            "the next `service start` or `service status` starts a daemon, which adopts \
                               running services",
                        )
                }
                _ => problem,
            })
        })
    }

    /// The same, but nothing where none runs here.
    pub(crate) fn ask_if_running<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Option<T>, LabeledError> {
        let session = self.clone();
        self.patiently(move || {
            let answer = match &session.place {
                Place::Here(project) => launch::running(project, &session.clients),
                Place::There(way) => {
                    return session.clients.to(way).and_then(|client| question(&client)).map(Some);
                }
            };
            match answer.and_then(|client| question(&client)) {
                Err(problem) if problem.code == Code::DaemonUnreachable => Ok(None),
                answer => answer.map(Some),
            }
        })
    }

    /// The project, if it is one of this machine.
    pub(crate) fn project(&self) -> Option<&Project> {
        match &self.place {
            Place::Here(project) => Some(project),
            Place::There(_) => None,
        }
    }

    /// Whether services of the project run, with or without a daemon.
    pub(crate) fn has_services(&self) -> bool {
        self.project().is_some_and(|project| orchestratord::runs(&self.engine, &project.state_dir))
    }

    /// Asks the daemon if it runs, else reads the project without leaving a daemon behind.
    pub(crate) fn read<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, Problem> + Send + 'static,
        words: Vec<String>,
    ) -> Result<T, LabeledError> {
        let session = self.clone();
        self.patiently(move || match (session.reach().and_then(|client| question(&client)), &session.place) {
            (Err(problem), Place::Here(project)) if problem.code == Code::DaemonUnreachable => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                orchestratord::run_once(project, &session.engine, &words)
            }
            (answer, _) => answer,
        })
    }

    /// Whether this call is made in the foreground, and not in a background job, which goes on while others use the prompt.
    pub(crate) fn is_in_foreground(&self) -> bool {
        let job = || {
            let id = self.engine.find_decl("job id").ok()??;
            let call = EvaluatedCall::new(self.head);
            let job = self.engine.call_decl(id, call, PipelineData::empty(), true, false).ok()?;
            job.into_value(self.head).ok()?.as_int().ok()
        };
        job() == Some(0)
    }

    /// What the program says without a daemon. Blocks likewise.
    pub(crate) fn program_says<T: serde::de::DeserializeOwned>(&self, words: &[&str]) -> Result<T, Problem> {
        match &self.place {
            Place::Here(project) => orchestratord::run_once(project, &self.engine, words),
            // What is on its disk is known there; this says why it cannot be asked.
            Place::There(way) => Err(launch::reach(way, &self.clients).err().unwrap_or_else(lost)),
        }
    }

    /// The services there are; starts no daemon.
    pub(crate) fn known(&self) -> Result<Vec<String>, LabeledError> {
        let services: Vec<view::Service> =
            self.read(|client| client.get(routes::LIST, &[]), vec!["list".into()])?;
        Ok(services.into_iter().map(|service| service.name).collect())
    }

    /// Asks the program itself about the project, without a daemon.
    pub(crate) fn one_shot<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        words: &'static [&'static str],
    ) -> Result<T, LabeledError> {
        let session = self.clone();
        self.patiently(move || session.program_says(words))
    }

    /// The Nushell error for a problem of this call.
    pub(crate) fn error(&self, problem: &Problem) -> LabeledError {
        let error = labeled(problem, &self.names, self.head);
        match &problem.help {
            Some(help) if self.piped && problem.code == Code::NotFound => {
                error.with_help(format!("{help}; {IN_A_CLOSURE}"))
            }
            _ => error,
        }
    }

    /// What to tell when nothing was heard.
    pub(crate) fn unheard<T>(&self, heard: &Heard<T>) -> LabeledError {
        match heard {
            Heard::Interrupted => ShellError::Interrupted { span: self.head }.into(),
            Heard::Late => self.error(&Problem::new(Code::Timeout, "the daemon did not answer in time")),
            Heard::Said(_) | Heard::Over => self.error(&lost()),
        }
    }

    /// Does something that takes no longer than an answer may.
    pub(crate) fn patiently<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, LabeledError> {
        let worker = Worker::spawn(&self.engine, move |mouth| {
            mouth.say(work());
        })?;
        match worker.hear(Some(PATIENCE)) {
            Heard::Said(answer) => answer.map_err(|problem| self.error(&problem)),
            heard => Err(self.unheard(&heard)),
        }
    }
}

/// Where the shell is set to, unless this call names a file of this machine.
fn there(engine: &EngineInterface, call: &EvaluatedCall) -> Result<Option<DaemonAddress>, LabeledError> {
    if call.get_flag_value("config").is_some() {
        return Ok(None);
    }
    remote::configured(engine).map_err(|problem| labeled(&problem, &[], call.head))
}

fn all_names(client: &Client) -> Result<Vec<String>, Problem> {
    let services: Vec<view::Service> = client.get(routes::LIST, &[])?;
    Ok(services.into_iter().map(|service| service.name).collect())
}

/// A thread of ours broke; its panic is on standard error.
fn lost() -> Problem {
    Problem::new(Code::Internal, "the plugin lost the daemon's answer")
}
