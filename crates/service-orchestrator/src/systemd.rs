//! The daemon as a unit of systemd: what systemd told it, what it tells systemd, and the commands that make and remove the
//! unit.

mod enable;
mod notify;
mod session;
mod unit;

pub(crate) use enable::is_enabled;
pub use enable::{disable, enable, start_instead};
pub use notify::Told;
pub(crate) use notify::{Notifier, report};
pub(crate) use session::{begin, is_leaving, note_who_ran};
pub use unit::{At, Starts};
