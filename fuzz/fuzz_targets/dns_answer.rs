//! The response of a DNS server: any bytes yield addresses or an error, and never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    let _ = service_probe::describe_dns_answer(answer);
});
