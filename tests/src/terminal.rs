//! [`Terminal`]: a Nushell at a real terminal, driven through tmux.

use crate::programs::{installed, skip};
use crate::project::Project;
use crate::wait::eventually;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The time limit of one attempt to read the screen.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// A terminal with one Nushell. Dropping it closes the terminal.
pub struct Terminal<'p> {
    project: &'p Project,
    tmux: PathBuf,
}

impl<'p> Terminal<'p> {
    /// A Nushell in the project's directory, at its prompt. `None`, after a message, without tmux.
    pub fn open(project: &'p Project) -> Option<Self> {
        Self::with_width(project, 150)
    }

    /// Like [`Self::open`], with this width.
    pub fn with_width(project: &'p Project, columns: u32) -> Option<Self> {
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

    /// Waits for the prompt: types a line whose output differs from the line, and waits for the output.
    #[track_caller]
    pub fn wait_for_prompt(&self) {
        // A ctrl-c clears the input, so a line that is typed too early is lost and must be typed again.
        eventually("the prompt is back", || {
            self.types("print $'at the prompt (20 + 3)'", &["Enter"]);
            self.shows_soon(&["at the prompt 23"]).then_some(())
        });
    }

    /// Whether the screen shows all these texts within two seconds.
    pub fn shows_soon(&self, texts: &[&str]) -> bool {
        let deadline = Instant::now() + ATTEMPT_TIMEOUT;
        loop {
            let screen = self.screen();
            let all = texts.iter().all(|text| screen.contains(text));
            if all || Instant::now() >= deadline {
                return all;
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Clears the screen and waits until it no longer shows this text.
    #[track_caller]
    pub fn clear(&self, text: &str) {
        self.types("clear", &["Enter"]);
        eventually("the screen is empty", || (!self.screen().contains(text)).then_some(()));
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
