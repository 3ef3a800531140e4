//! The engine: one task that owns the fleet. It receives commands and reports, sends effects to the drivers, and
//! publishes a snapshot after each turn.

mod accept;
mod adopt;
pub(crate) mod comparison;
mod diff;
pub(crate) mod drivers;
mod effects;
mod external;
mod health_check;
pub(crate) mod inbox;
mod journal;
mod last_good;
mod last_record;
mod leftover;
pub(crate) mod message;
mod preview;
mod recovery;
mod redefine;
mod request_log;
mod run_trace;
mod runtime;
pub(crate) mod start;
mod stops;
mod task;
mod unclear;
mod unmet;
mod unqueried;
mod waiters;
