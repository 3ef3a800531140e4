//! [`Container`]: the keys of a service that a container engine runs.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The keys of a container: `image`, `pull`, `ports`, `volumes` and `networks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The image.
    pub image: String,
    /// When the image is fetched.
    pub pull: Pull,
    /// The published ports.
    pub ports: Vec<String>,
    /// The directories and named volumes, with their mount points.
    pub volumes: Vec<String>,
    /// The networks; if empty, the engine's default.
    pub networks: Vec<String>,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Pull {
    /// The image is fetched if it is missing.
    #[default]
    Missing,
    /// The image is fetched at each start.
    Always,
    /// The image is never fetched.
    Never,
}

impl Pull {
    /// Every choice with its name in TOML.
    pub const ALL: [(&'static str, Self); 3] =
        [("missing", Self::Missing), ("always", Self::Always), ("never", Self::Never)];
}
