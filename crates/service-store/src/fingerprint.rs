//! Salted hashes in place of the values of environment variables: enough to detect a change, not to recover the value.

use service_api::trust::sha256;
use service_core::config::Service;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Replaces the values of a definition by their hashes.
pub(crate) fn hide_values(definition: &mut Service, salt: u64) {
    for (key, value) in &mut definition.env {
        *value = fingerprint(salt, key, value);
    }
}

/// Restores the values that are the same in `now`. Any other variable keeps its hash.
pub(crate) fn restore_values(definition: &mut Service, salt: u64, now: &Service) {
    for (key, value) in &mut definition.env {
        let same =
            now.env.iter().find(|(other, known)| other == key && is_fingerprint(value, salt, key, known));
        if let Some((_, known)) = same {
            value.clone_from(known);
        }
    }
}

/// The definition without variables of unknown value, for the stop of a service that is no longer defined.
pub fn without_unknown(mut definition: Service) -> Service {
    definition.env.retain(|(_, value)| !value.starts_with(HASH_MARK));
    definition
}

/// Whether a value is a hash, so that the variable's value is unknown.
pub fn is_incomplete(definition: &Service) -> bool {
    definition.env.iter().any(|(_, value)| value.starts_with(HASH_MARK))
}

/// The first character of a hash. No value of an environment can contain it.
const HASH_MARK: char = '\0';
/// The prefix of a fingerprint from a SHA-256. Fingerprints without it come from a hash of the standard library, which
/// may differ in another Rust release.
const SHA256: &str = "2:";

/// A salted hash of a variable: enough to detect a change, not to recover the value.
fn fingerprint(salt: u64, key: &str, value: &str) -> String {
    let length = u64::try_from(key.len()).unwrap_or(u64::MAX);
    let parts = [&salt.to_le_bytes()[..], &length.to_le_bytes(), key.as_bytes(), value.as_bytes()];
    format!("{HASH_MARK}{SHA256}{}", &sha256(&parts.concat())[..32])
}

/// Whether a fingerprint belongs to this variable.
fn is_fingerprint(found: &str, salt: u64, key: &str, value: &str) -> bool {
    let Some(hash) = found.strip_prefix(HASH_MARK) else { return false };
    if hash.starts_with(SHA256) {
        return found == fingerprint(salt, key, value);
    }
    let mut hasher = DefaultHasher::new();
    (salt, key, value).hash(&mut hasher);
    hash == format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_same_in_every_release() {
        let made = fingerprint(7, "KEY", "value");
        assert_eq!(made, format!("\0{}", "2:5f4589b8467b250245f4182763b4aa9d"));
        assert!(is_fingerprint(&made, 7, "KEY", "value"));
        assert!(!is_fingerprint(&made, 7, "KE", "Yvalue"));
        let mut hasher = DefaultHasher::new();
        (7_u64, "KEY", "value").hash(&mut hasher);
        assert!(
            is_fingerprint(&format!("\0{:016x}", hasher.finish()), 7, "KEY", "value"),
            "of the version before"
        );
    }
}
