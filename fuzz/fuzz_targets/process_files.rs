//! `/proc/<pid>/stat`, `status`, `schedstat` and `cmdline`.

#![no_main]

use jobmeter_hostfs::process::status;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _outcomes = (status::stat(bytes), status::memory(bytes), status::innermost_pid(bytes), status::on_cpu_ns(bytes));
    let limit = bytes.len() / 2;
    assert!(status::command_line(bytes, limit).len() <= limit);
});
