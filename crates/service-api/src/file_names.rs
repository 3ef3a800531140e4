//! Names of the files of a project.

/// The file that describes a project.
pub const FILE: &str = "services.toml";
/// The name of [`Project::record`](crate::Project::record) in a state directory.
pub const RECORD: &str = "orchestratord.json";
/// The name of the file in a state directory that a running daemon locks.
pub const LOCK: &str = "orchestratord.lock";
/// The name of [`Project::path_note`](crate::Project::path_note) in a state directory.
pub const NOTE: &str = "project";
/// The directory of this program inside the XDG directories.
pub(crate) const FOLDER: &str = "service-orchestrator";
