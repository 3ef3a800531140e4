//! [`Name`]: the name of a service.

use alloc::sync::Arc;
use alloc::{borrow::ToOwned, string::String};
use core::{borrow::Borrow, fmt, ops::Deref};
use serde::{Deserialize, Serialize};

/// The maximum length of a name.
pub const MAX_NAME_BYTES: usize = 64;

/// The name of a service: ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most
/// [`MAX_NAME_BYTES`] bytes. It is valid in paths, URLs and file names without escapes. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// A text that is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be a service's name: use at most 64 letters, digits, `.`, `_` and `-`, and begin with a letter or digit"
)]
pub struct InvalidName(String);

impl Name {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if first && rest && name.len() <= MAX_NAME_BYTES {
            Ok(Self(name.into()))
        } else {
            let told = name.floor_char_boundary(2 * MAX_NAME_BYTES);
            Err(InvalidName(name[..told].to_owned() + if told < name.len() { "…" } else { "" }))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;
    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(&name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        (*name.0).to_owned()
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for bad in ["", "..", ".hidden", "a/b", "a b", "-x", "é", &"x".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
        for good in ["a", "oci-registry", "web.1", "7_seas"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
    }
}
