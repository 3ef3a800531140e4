//! The daemon as a systemd unit: the environment that systemd sets, `sd_notify`, sessions, and the commands that write
//! and remove the unit.

mod enable;
mod notify;
mod session;
mod unit;

pub(crate) use enable::is_enabled;
pub(crate) use enable::{disable, enable, start_instead};
pub(crate) use notify::SystemdEnv;
pub(crate) use notify::{Notifier, report_status};
pub(crate) use session::{is_session_ending, save_services_to_resume, start_session};
pub(crate) use unit::{StartSet, StartTrigger};
