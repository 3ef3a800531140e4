//! What is played, and who can play it: [`Part`]s are services, a [`Contestant`] raises a [`Stage`] for them, and on that
//! stage they are started and stopped.

use std::path::Path;
use std::time::Duration;

/// One service.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    /// Indices of the parts that have to be ready before.
    pub(crate) needs: Vec<usize>,
    /// It is ready when it listens there.
    pub(crate) port: Option<u16>,
    /// Checked so often over HTTP at this address.
    pub(crate) check: Option<(String, Duration)>,
    /// Its end is its result; it is not started again.
    pub(crate) ends: bool,
}

/// Somebody who runs services.
pub(crate) trait Contestant {
    /// As the table calls it.
    fn name(&self) -> &'static str;

    /// What it is, with its version; `None` if this machine has none.
    fn version(&self) -> Option<String>;

    /// Gets ready to start these parts, with everything in this directory. `None` if it has no way to play them.
    fn raise(&self, parts: &[Part], directory: &Path) -> Option<Box<dyn Stage>>;
}

/// A contestant that is up, and has started nothing yet. Dropping it ends all that is left.
pub(crate) trait Stage {
    /// Asks for the start of all parts. May return before they are up.
    fn start(&mut self);

    /// Asks for the stop of all parts. May return before they are down.
    fn stop(&mut self);

    /// Asks once how all parts are. `false` if it has no API for that.
    fn status(&mut self) -> bool {
        false
    }

    /// The file that the output of a part goes to.
    fn log(&self, _part: &Part) -> Option<std::path::PathBuf> {
        None
    }
}
