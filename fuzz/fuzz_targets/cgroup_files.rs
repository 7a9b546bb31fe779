//! Every parser of a cgroup's files, on the same bytes.

#![no_main]

use jobmeter_hostfs::cgroup::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _outcomes = (parse::number(bytes), parse::cpu_stat_v1(bytes), parse::cpu_stat_v2(bytes), parse::oom_kills(bytes));
    let _outcomes = (parse::anon_shmem_v1(bytes), parse::anon_shmem_v2(bytes), parse::io_stat(bytes), parse::blkio_bytes(bytes));
    let _outcomes = (parse::pressure_some(bytes), parse::populated(bytes));
    let mut pids = Vec::new();
    if parse::pids(bytes, &mut pids).is_ok() {
        assert!(pids.iter().all(|pid| *pid > 0));
    }
});
