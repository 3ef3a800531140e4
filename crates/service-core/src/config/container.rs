//! [`Container`]: the keys of a service that a container engine runs.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// `image` and the keys beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The image.
    pub image: String,
    /// When the image is fetched.
    pub pull: Pull,
    /// Which of its ports can be reached from outside, and where.
    pub ports: Vec<String>,
    /// The directories and named volumes, with their mount points.
    pub volumes: Vec<String>,
    /// The networks; none for the default of the engine.
    pub networks: Vec<String>,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Pull {
    /// If it is missing.
    #[default]
    Missing,
    /// At each start.
    Always,
    /// Not at all.
    Never,
}

impl Pull {
    /// Every choice with its name in TOML.
    pub const ALL: [(&'static str, Self); 3] =
        [("missing", Self::Missing), ("always", Self::Always), ("never", Self::Never)];
}
