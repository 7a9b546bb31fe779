//! The index of times, as it may come back from a store.

#![no_main]

use jobmeter_logtext::times::Times;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(times) = Times::new(bytes) {
        // Compressed bytes may stand for very many entries.
        let _seen = times.take(100_000).filter(Result::is_ok).count();
    }
});
