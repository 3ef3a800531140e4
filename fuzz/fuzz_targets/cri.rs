//! The log reader: it reads any bytes as lines, and reads written lines unchanged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use service_shim::tail;

fuzz_target!(|log: &[u8]| {
    for line in tail::lines(log) {
        assert!(!line.text.contains('\n'), "{line:?}");
    }
});
