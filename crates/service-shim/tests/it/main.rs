//! The real shim over a real socket, with small shell scripts as services.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

mod control;
mod harness;
mod launch;
mod launch_error;
mod life;
mod output;
