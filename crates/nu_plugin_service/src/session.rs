//! [`Session`]: one call of a command, with its project and its connection to the daemon.

use crate::plugin::ServicePlugin;
use crate::selector::{IN_A_CLOSURE, Selection};
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{LabeledError, PipelineData, ShellError, Span, Spanned};
use service_api::{Code, Problem, Project, routes, view};
use service_client::client::{Client, Clients};
use service_client::daemon_address::DaemonAddress;
use service_client::{launch, orchestratord};
use service_nushell::error::labeled;
use service_nushell::interruptible::{Worker, WorkerEvent};
use service_nushell::{project, remote, shell};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The time limit for a response, unless a command waits on purpose.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// The daemon enforces the time limit of an action or a wait. The daemon's response may arrive this much later.
pub(crate) const RESPONSE_GRACE: Duration = Duration::from_secs(10);

/// The state of one call.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) engine: EngineInterface,
    pub(crate) head: Span,
    /// The names of the services, for labels in errors.
    pub(crate) names: Vec<Spanned<String>>,
    /// Whether the names came through the pipe, like the item of a closure.
    piped: bool,
    target: DaemonTarget,
    clients: Arc<Clients>,
}

/// The daemon of the call.
#[derive(Clone)]
enum DaemonTarget {
    /// The daemon of a project on this machine, which the plugin can start.
    Local(Project),
    /// The daemon of another machine.
    Remote(DaemonAddress),
}

impl Selection {
    /// Reads the rest arguments and the pipe.
    pub(crate) fn read(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<Self, LabeledError> {
        Self::with_names(plugin, engine, call, call.rest(0)?, input)
    }

    /// Selects these names, or the names in the pipe.
    pub(crate) fn with_names(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        names: Vec<Spanned<String>>,
        input: PipelineData,
    ) -> Result<Self, LabeledError> {
        let known = || Session::open(plugin, engine, call, &Self::Unspecified)?.service_names();
        Self::choose(names, input, call.head, known)
    }
}

impl Session {
    /// Finds the daemon of this call. This is the project's daemon, unless the shell is configured for another machine
    /// and `--config` is absent.
    pub(crate) fn open(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        selection: &Selection,
    ) -> Result<Self, LabeledError> {
        match remote_target(engine, call)? {
            Some(address) => Ok(Self::at(plugin, engine, call, selection, DaemonTarget::Remote(address))),
            None => Self::open_here(plugin, engine, call, selection),
        }
    }

    /// Opens the project on this machine, even if the shell is configured for another machine; for commands about the
    /// file.
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

    /// Like [`Session::open`], but opens the user's own project if there is no project.
    pub(crate) fn open_anywhere(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
    ) -> Result<Self, LabeledError> {
        if let Some(address) = remote_target(engine, call)? {
            return Ok(Self::at(
                plugin,
                engine,
                call,
                &Selection::Unspecified,
                DaemonTarget::Remote(address),
            ));
        }
        let config: Option<PathBuf> = call.get_flag::<String>("config")?.map(PathBuf::from);
        let mark = call.get_flag_span("config").unwrap_or(call.head);
        let project = project::find_or_own(engine, config.as_deref());
        let project = project.map_err(|problem| labeled(&problem, &[], mark))?;
        Ok(Self::at(plugin, engine, call, &Selection::Unspecified, DaemonTarget::Local(project)))
    }

    /// Opens the project of this file, which is named at `mark`.
    pub(crate) fn open_at(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        selection: &Selection,
        config: Option<&Path>,
        mark: Span,
    ) -> Result<Self, LabeledError> {
        let project = project::find(engine, config).map_err(|problem| labeled(&problem, &[], mark))?;
        Ok(Self::at(plugin, engine, call, selection, DaemonTarget::Local(project)))
    }

    fn at(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        selection: &Selection,
        target: DaemonTarget,
    ) -> Self {
        Self {
            engine: engine.clone(),
            head: call.head,
            names: selection.names().to_vec(),
            piped: matches!(selection, Selection::Piped(_)),
            target,
            clients: Arc::clone(&plugin.clients),
        }
    }

    /// Whether the daemon runs on another machine, where local directories have no meaning.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.target, DaemonTarget::Remote(_))
    }

    /// The hash that the file must have, if the file may be used only because its content is trusted.
    pub(crate) fn trusted_hash(&self) -> Option<String> {
        match &self.target {
            DaemonTarget::Local(project) => project.trusted_hash.clone(),
            DaemonTarget::Remote(_) => None,
        }
    }

    /// Sends a request to the daemon, which is started if it does not run.
    pub(crate) fn request<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, LabeledError> {
        let session = self.clone();
        self.with_timeout(move || question(&session.reach_or_start()?))
    }

    /// Sends a request for each selected service, concurrently.
    pub(crate) fn request_each<T: Send + 'static>(
        &self,
        selection: &Selection,
        question: impl Fn(&Client, &str) -> Result<T, Problem> + Send + Sync + 'static,
    ) -> Result<Vec<T>, LabeledError> {
        let selected: Vec<String> = selection.names().iter().map(|name| name.item.clone()).collect();
        self.request(move |client| {
            let names = if selected.is_empty() { all_names(client)? } else { selected };
            std::thread::scope(|scope| {
                let asked: Vec<_> = names.iter().map(|name| scope.spawn(|| question(client, name))).collect();
                asked.into_iter().map(|answer| answer.join().unwrap_or_else(|_| Err(lost_answer()))).collect()
            })
        })
    }

    /// The daemon, if it runs and its version matches. Blocks, for use on a worker thread.
    pub(crate) fn reach(&self) -> Result<Client, Problem> {
        match &self.target {
            DaemonTarget::Local(project) => launch::connect(project, &self.clients),
            DaemonTarget::Remote(address) => launch::reach(address, &self.clients),
        }
    }

    /// The daemon; a daemon of this machine is started if it does not run. Blocks the thread.
    pub(crate) fn reach_or_start(&self) -> Result<Client, Problem> {
        match &self.target {
            DaemonTarget::Local(project) => {
                launch::connect_or_start(project, &self.clients, || shell::caller(&self.engine))
            }
            DaemonTarget::Remote(address) => launch::reach(address, &self.clients),
        }
    }

    /// Sends a request to the daemon if it runs, whatever its version. Never starts it.
    pub(crate) fn request_running<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, LabeledError> {
        let session = self.clone();
        self.with_timeout(move || {
            let project = match &session.target {
                DaemonTarget::Local(project) => project,
                DaemonTarget::Remote(address) => return question(&session.clients.for_address(address)?),
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

    /// Like [`Session::request_running`], but `None` if no daemon runs on this machine.
    pub(crate) fn request_if_running<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Option<T>, LabeledError> {
        let session = self.clone();
        self.with_timeout(move || {
            let answer = match &session.target {
                DaemonTarget::Local(project) => launch::running(project, &session.clients),
                DaemonTarget::Remote(address) => {
                    return session
                        .clients
                        .for_address(address)
                        .and_then(|client| question(&client))
                        .map(Some);
                }
            };
            match answer.and_then(|client| question(&client)) {
                Err(problem) if problem.code == Code::DaemonUnreachable => Ok(None),
                answer => answer.map(Some),
            }
        })
    }

    /// The project, if it is on this machine.
    pub(crate) fn project(&self) -> Option<&Project> {
        match &self.target {
            DaemonTarget::Local(project) => Some(project),
            DaemonTarget::Remote(_) => None,
        }
    }

    /// Whether services of the project run, with or without a daemon.
    pub(crate) fn has_services(&self) -> bool {
        self.project().is_some_and(|project| project::has_running_services(&self.engine, &project.state_dir))
    }

    /// Sends a request to the daemon if it runs, or else runs a one-shot command.
    pub(crate) fn read<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, Problem> + Send + 'static,
        words: Vec<String>,
    ) -> Result<T, LabeledError> {
        let session = self.clone();
        self.with_timeout(move || {
            match (session.reach().and_then(|client| question(&client)), &session.target) {
                (Err(problem), DaemonTarget::Local(project)) if problem.code == Code::DaemonUnreachable => {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    orchestratord::run_once(project, shell::caller(&session.engine)?, &words)
                }
                (answer, _) => answer,
            }
        })
    }

    /// Whether this call runs in the foreground, and not in a background job.
    pub(crate) fn is_in_foreground(&self) -> bool {
        let job = || {
            let id = self.engine.find_decl("job id").ok()??;
            let call = EvaluatedCall::new(self.head);
            let job = self.engine.call_decl(id, call, PipelineData::empty(), true, false).ok()?;
            job.into_value(self.head).ok()?.as_int().ok()
        };
        job() == Some(0)
    }

    /// Runs a one-shot command of the program. Blocks the thread.
    pub(crate) fn run_program<T: serde::de::DeserializeOwned>(&self, words: &[&str]) -> Result<T, Problem> {
        match &self.target {
            DaemonTarget::Local(project) => {
                orchestratord::run_once(project, shell::caller(&self.engine)?, words)
            }
            // The files are on the other machine. A failed connection returns the error with the reason.
            DaemonTarget::Remote(address) => {
                Err(launch::reach(address, &self.clients).err().unwrap_or_else(lost_answer))
            }
        }
    }

    /// The names of all services. Starts no daemon.
    pub(crate) fn service_names(&self) -> Result<Vec<String>, LabeledError> {
        let services: Vec<view::Service> =
            self.read(|client| client.get(routes::LIST, &[]), vec!["list".into()])?;
        Ok(services.into_iter().map(|service| service.name).collect())
    }

    /// Runs a one-shot command about the project, without a daemon.
    pub(crate) fn one_shot<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        words: Vec<String>,
    ) -> Result<T, LabeledError> {
        let session = self.clone();
        self.with_timeout(move || session.run_program(&words.iter().map(String::as_str).collect::<Vec<_>>()))
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

    /// The error for an event that is not a response.
    pub(crate) fn explain_no_answer<T>(&self, event: &WorkerEvent<T>) -> LabeledError {
        match event {
            WorkerEvent::Interrupted => ShellError::Interrupted { span: self.head }.into(),
            WorkerEvent::TimedOut => {
                self.error(&Problem::new(Code::Timeout, "the daemon did not answer in time"))
            }
            WorkerEvent::Item(_) | WorkerEvent::Finished => self.error(&lost_answer()),
        }
    }

    /// Runs work with the limit of a response.
    pub(crate) fn with_timeout<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, LabeledError> {
        let worker = Worker::spawn(&self.engine, move |sender| {
            sender.send(work());
        })?;
        match worker.receive(Some(ANSWER_TIMEOUT)) {
            WorkerEvent::Item(answer) => answer.map_err(|problem| self.error(&problem)),
            event => Err(self.explain_no_answer(&event)),
        }
    }
}

/// The other machine that the shell is configured for; `None` if this call has `--config`.
fn remote_target(
    engine: &EngineInterface,
    call: &EvaluatedCall,
) -> Result<Option<DaemonAddress>, LabeledError> {
    if call.get_flag_value("config").is_some() {
        return Ok(None);
    }
    remote::configured(engine).map_err(|problem| labeled(&problem, &[], call.head))
}

fn all_names(client: &Client) -> Result<Vec<String>, Problem> {
    // The definitions are refused if the file is invalid, and the states are not.
    let services: Vec<view::Status> = client.get(routes::STATUS, &[])?;
    Ok(services.into_iter().map(|service| service.name).collect())
}

/// The error after a panic of a worker thread, whose message is on standard error.
fn lost_answer() -> Problem {
    Problem::new(Code::Internal, "the plugin lost the daemon's answer")
}
