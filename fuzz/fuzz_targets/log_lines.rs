//! Lines of container logs: what is read is part of the line.

#![no_main]

use jobmeter_logtext::cri;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(found) = cri::parse(bytes) {
        assert!(bytes.ends_with(found.content));
    }
});
