//! Job manifests.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = jobmeter_jobfile::read("fuzz.yaml", text);
});
