//! `cargo xtask check`: all that a change has to pass.

use crate::command::{self, TaskResult, cargo};
use crate::{instructions, readme, test};

pub(crate) fn run() -> TaskResult {
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    command::run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    test::run()?;
    instructions::run(&[])?;
    readme::check()
}
