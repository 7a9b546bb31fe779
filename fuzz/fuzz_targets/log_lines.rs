//! Lines of container logs: what is read is part of the line.

#![no_main]

use jobmeter_hostfs::podlog::line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(found) = line::parse(bytes) {
        assert!(bytes.ends_with(found.content));
    }
});
