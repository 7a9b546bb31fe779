//! Names of pod log directories: what is understood is the whole name.

#![no_main]

use jobmeter_hostfs::podlog;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    if let Some(identity) = podlog::parse(name) {
        assert_eq!(format!("{}_{}_{}", identity.namespace, identity.name, identity.pod_uid), name);
    }
});
