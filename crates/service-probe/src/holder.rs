//! [`Holder`]: the process that listens on a port, as a message names it.

/// The process that listens on the port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The port.
    pub port: u16,
    /// The pid; `None` for a process of another user.
    pub pid: Option<u32>,
    /// The name and the pid of the process; `None` for a process of another user.
    pub process: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.process) {
            (Some(pid), Some(process)) => write!(f, "pid {pid} ({process})"),
            _ => f.write_str("a process of another user"),
        }
    }
}
