//! Recognising pods and containers: what is recognised must be part of the path.

#![no_main]

use jobmeter_hostfs::cgroup::place;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    if let Some(found) = place::recognise(path) {
        assert!(!found.pod.pod_uid.is_empty());
        let again = place::recognise(&found.path().display().to_string());
        assert_eq!(again.as_ref(), Some(&found), "the path that was found means the same");
    }
});
