//! Programs of other projects: finds their version, and ends them.

use std::process::{Child, Command};

/// The first word that begins with a digit, in the first line that the program prints for `option`.
pub(super) fn version(program: &str, option: &str) -> Option<String> {
    let program = service_tests::installed(program)?;
    let output = Command::new(program).arg(option).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .next()?
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

/// A process that is killed when this is dropped.
pub(super) struct ChildGuard(pub(super) Child);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
