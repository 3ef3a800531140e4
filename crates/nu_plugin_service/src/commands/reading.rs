//! [`Reading`]: one call of a command that only reads about services.

use crate::error::refusal;
use crate::plugin::ServicePlugin;
use crate::selector::Selection;
use crate::session::Session;
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{LabeledError, PipelineData, Spanned};
use serde::de::DeserializeOwned;

/// How many of the last rows are asked for.
pub(super) fn tail(call: &EvaluatedCall) -> Result<Option<usize>, LabeledError> {
    let Some(tail) = call.get_flag::<Spanned<i64>>("tail")? else { return Ok(None) };
    let refused = |_| {
        refusal("bad_request", "cannot show a negative number of rows", "must not be negative", tail.span)
    };
    usize::try_from(tail.item).map(Some).map_err(refused)
}

/// So many of the last, or all.
pub(super) fn last_of<T>(tail: Option<usize>, mut rows: Vec<T>) -> Vec<T> {
    let surplus = tail.map_or(0, |tail| rows.len().saturating_sub(tail));
    rows.drain(..surplus);
    rows
}

/// Which services it is about, and how to learn about them.
pub(super) struct Reading {
    pub(super) selection: Selection,
    pub(super) session: Session,
}

impl Reading {
    /// Reads names and pipe; `None` where an empty pipe leaves nothing to read about.
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

    /// The names, for who needs them one by one.
    pub(super) fn names(&self) -> Vec<String> {
        self.selection.names().iter().map(|name| name.item.clone()).collect()
    }

    /// A refusal that speaks of this word marks it.
    pub(super) fn mark(&mut self, word: Spanned<String>) {
        self.session.names.push(word);
    }

    /// What the route answers; without a daemon, what the program says, which has the same words: the route's last one is its
    /// command, and `since=17` its `--since 17`.
    pub(super) fn ask<T: DeserializeOwned + Send + 'static>(
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
