//! [`SeededRng`]: reproducible random delays, for faults at random moments.

use std::time::Duration;

/// The rounds of a test with random moments: 10, or 200 with `SERVICE_FAULTS=long`.
pub fn rounds() -> usize {
    if std::env::var("SERVICE_FAULTS").is_ok_and(|form| form == "long") { 200 } else { 10 }
}

/// The delays of one test: `SplitMix64`, seeded by `SERVICE_FAULTS_SEED` or a constant.
pub struct SeededRng(u64);

impl Default for SeededRng {
    fn default() -> Self {
        let seed =
            std::env::var("SERVICE_FAULTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2026);
        eprintln!("SERVICE_FAULTS_SEED={seed}");
        Self(seed)
    }
}

impl SeededRng {
    /// A delay below `longest`.
    pub fn random_delay(&mut self, longest: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let micros = u64::try_from(longest.as_micros()).expect("a test is short");
        Duration::from_micros((mixed ^ (mixed >> 31)) % micros)
    }
}
