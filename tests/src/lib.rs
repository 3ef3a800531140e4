//! The harness of the end-to-end tests: a project per test, used through the real `nu`.
//!
//! A [`Project`] is a directory with a `services.toml` and private XDG directories. Commands run in it as a user would
//! type them. Dropping a project stops its daemon and its services; a process that still runs then fails the test.
//! Programs come from the directory of the test itself, so run `cargo build --workspace --bins` first, or from
//! `$SERVICE_TEST_PROGRAMS`.

// The harness panics if a test fails.
#![allow(clippy::missing_panics_doc)]

mod containers;
mod port;
mod process;
mod programs;
mod project;
mod relay;
mod rng;
mod socket;
mod systemd;
mod terminal;
mod wait;

pub use containers::{ContainerEngine, Containers};
pub use port::free_port;
pub use process::{alive, descriptors, marked, memory, name, signal};
pub use programs::{Lack, installed, program, python_program, skip, skip_for};
pub use project::{Answer, Project, ServiceTable};
pub use relay::Relay;
pub use rng::{SeededRng, rounds};
pub use socket::{follow, http, joined, post, request, tcp};
pub use systemd::Systemd;
pub use terminal::Terminal;
pub use wait::{WAIT_TIMEOUT, eventually, within};
