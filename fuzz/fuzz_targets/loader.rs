//! The loader: any text yields a configuration or an error with its location, and never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use service_config::load;
use std::path::Path;

fuzz_target!(|text: &str| {
    if let Ok(config) = load::config_from_str(text, "services.toml") {
        let _ = load::compile(config, Path::new("services.toml"));
    }
});
