//! Kubernetes resource quantities.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(quantity) = text.parse::<jobmeter_kubepod::Quantity>() {
        let _ = (quantity.units(), quantity.millis());
    }
});
