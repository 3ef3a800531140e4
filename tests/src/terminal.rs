//! [`Terminal`]: a Nushell at a real terminal, driven through tmux.

use crate::programs::{installed, skip};
use crate::project::Project;
use crate::wait::eventually;
use std::path::PathBuf;

/// A terminal with one Nushell. Dropping it closes the terminal.
pub struct Terminal<'p> {
    project: &'p Project,
    tmux: PathBuf,
}

impl<'p> Terminal<'p> {
    /// A Nushell in the project's directory, at its prompt. `None`, after a message, without tmux.
    pub fn open(project: &'p Project) -> Option<Self> {
        Self::of_width(project, 150)
    }

    /// The same in a terminal of this width.
    pub fn of_width(project: &'p Project, columns: u32) -> Option<Self> {
        let Some(tmux) = installed("tmux") else {
            skip("tmux is not installed");
            return None;
        };
        let terminal = Self { project, tmux };
        let shell = project.shell().map(|word| word.display().to_string()).join(" ");
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns.to_string(),
            "-y",
            "50",
            &shell,
        ]);
        eventually("the prompt is there", || terminal.screen().contains('>').then_some(()));
        Some(terminal)
    }

    /// Types text, then presses keys: `Enter`, `Tab`, `C-c`.
    pub fn types(&self, text: &str, keys: &[&str]) {
        self.tmux(&["send-keys", "-l", text]);
        self.press(keys);
    }

    /// Presses keys.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The text on the screen.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen shows this text.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        eventually(&format!("the screen shows `{text}`"), || self.screen().contains(text).then_some(()));
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = self.project.command(&self.tmux);
        command.arg("-S").arg(self.project.path("tmux")).args(arguments).env_remove("TMUX");
        let output = command.output().expect("tmux can be run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the screen was:\n{}", self.screen());
        }
        self.tmux(&["kill-server"]);
    }
}
