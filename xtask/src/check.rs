//! `cargo xtask check`: all that a change has to pass.

use crate::{Done, cargo, counts, readme, test};

pub(crate) fn run() -> Done {
    crate::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    crate::run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    test::run()?;
    counts::run(&[])?;
    readme::check()
}
