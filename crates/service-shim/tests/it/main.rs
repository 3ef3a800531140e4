//! The real shim over a real socket, with small shell scripts as services.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod control;
mod harness;
mod launch;
mod life;
mod output;
mod refusal;
