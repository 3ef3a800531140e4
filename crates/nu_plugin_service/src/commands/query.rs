//! [`Query`]: one call of a command that only reads data of services.

use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{LabeledError, PipelineData, Spanned};
use serde::de::DeserializeOwned;
use service_nushell::error::invalid_call;

/// The value of `--tail`.
pub(super) fn tail(call: &EvaluatedCall) -> Result<Option<usize>, LabeledError> {
    let Some(tail) = call.get_flag::<Spanned<i64>>("tail")? else { return Ok(None) };
    let refused = |_| {
        invalid_call(
            "bad_request",
            "cannot show a negative number of rows",
            "must not be negative",
            tail.span,
        )
    };
    usize::try_from(tail.item).map(Some).map_err(refused)
}

/// The last `tail` rows, or all.
pub(super) fn keep_last<T>(tail: Option<usize>, mut rows: Vec<T>) -> Vec<T> {
    let surplus = tail.map_or(0, |tail| rows.len().saturating_sub(tail));
    rows.drain(..surplus);
    rows
}

/// The selected services, and the session of the call.
pub(super) struct Query {
    pub(super) selection: Selection,
    pub(super) session: Session,
}

impl Query {
    /// Reads the names and the pipe; `None` for an empty pipe.
    pub(super) fn open(
        plugin: &ServicePlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<Option<Self>, LabeledError> {
        let selection = Selection::read(plugin, engine, call, input)?;
        if selection.is_empty() {
            return Ok(None);
        }
        let session = Session::open(plugin, engine, call, &selection)?;
        Ok(Some(Self { selection, session }))
    }

    /// The names, one by one.
    pub(super) fn names(&self) -> Vec<String> {
        self.selection.names().iter().map(|name| name.item.clone()).collect()
    }

    /// Adds an argument that an error can label.
    pub(super) fn mark(&mut self, word: Spanned<String>) {
        self.session.names.push(word);
    }

    /// Requests a route. Without a daemon it runs the one-shot command with the same arguments: the last segment of the
    /// route is the command, and `since=17` becomes `--since 17`.
    pub(super) fn fetch<T: DeserializeOwned + Send + 'static>(
        &self,
        route: &'static str,
        options: Vec<(&'static str, String)>,
    ) -> Result<T, LabeledError> {
        let mut words: Vec<String> = route.rsplit('/').take(1).map(str::to_owned).collect();
        for (option, value) in &options {
            words.push(format!("--{option}"));
            words.extend((value != "true").then(|| value.clone()));
        }
        words.extend(self.names());
        let names = self.selection.joined();
        self.session.read(
            move |client| {
                let options = options.iter().map(|(option, value)| (*option, value.as_str()));
                let query: Vec<_> = std::iter::once(("names", names.as_str())).chain(options).collect();
                client.get(route, &query)
            },
            words,
        )
    }
}
