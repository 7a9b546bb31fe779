//! Texts in `tests/fixtures` are captures; the malformed ones are what a reader must not take for a number.

use proptest::prelude::*;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $name))
    };
}

#[test]
fn cpu_of_both_versions_comes_out_in_nanoseconds() {
    let v2 = cpu_stat_v2(fixture!("v2/cpu.stat")).unwrap();
    assert_eq!((v2.usage_ns, v2.user_ns, v2.system_ns), (974_966_000, Some(261_235_000), Some(713_731_000)));
    assert_eq!((v2.periods, v2.throttled_periods, v2.throttled_ns), (Some(51), Some(48), Some(3_949_167_000)));
    let bare = cpu_stat_v2(fixture!("v2/cpu.stat.without-controller")).unwrap();
    assert_eq!((bare.usage_ns > 0, bare.periods), (true, None));
    let v1 = cpu_stat_v1(fixture!("v1/cpu.stat")).unwrap();
    assert_eq!(v1, Throttling { periods: Some(6), throttled_periods: Some(5), throttled_ns: Some(381_315_700) });
    assert_eq!(number(fixture!("v1/cpuacct.usage")).unwrap(), 106_472_899);
}

#[test]
fn memory_without_page_cache_is_anonymous_memory_and_shmem_of_the_whole_subtree() {
    assert_eq!(anon_shmem_v1(fixture!("v1/memory.stat")).unwrap(), 5_181_440 + 4_194_304);
    assert_eq!(anon_shmem_v2(fixture!("v2/memory.stat")).unwrap(), 53_248 + 4_194_304);
}

#[test]
fn oom_kills_are_read_from_either_file() {
    assert_eq!(oom_kills(fixture!("v1/memory.oom_control")).unwrap(), Some(1));
    assert_eq!(oom_kills(fixture!("v2/memory.events")).unwrap(), Some(1));
    assert_eq!(oom_kills(b"oom_kill_disable 0\nunder_oom 0\n").unwrap(), None);
}

#[test]
fn bytes_read_and_written_are_summed_over_devices() {
    let two = b"8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n8:0 rbytes=90 wbytes=0 rios=3 wios=0 dbytes=50331648 dios=3021\n";
    assert_eq!(io_stat(two).unwrap(), IoCounters { read_bytes: 1_459_290, written_bytes: 314_773_504 });
    assert_eq!(io_stat(b"").unwrap(), IoCounters::default());
    let v1 = b"254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 12288\n254:0 Async 0\n254:0 Discard 0\n254:0 Total 12288\n7:0 Read 1\nTotal 12289\n";
    assert_eq!(blkio_bytes(v1).unwrap(), IoCounters { read_bytes: 4097, written_bytes: 8192 });
}

#[test]
fn pressure_is_the_total_of_its_some_line() {
    assert_eq!(pressure_some(fixture!("v2/cpu.pressure")).unwrap(), 3_178_196);
    assert!(pressure_some(b"full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n").is_err());
}

#[test]
fn a_number_that_is_not_one_is_an_error_that_shows_it() {
    let error = cpu_stat_v2(b"usage_usec 12x\n").unwrap_err();
    assert_eq!(error.to_string(), r#"expected a number for usage_usec, found " 12x""#);
    assert!(cpu_stat_v2(b"user_usec 1\n").is_err());
    assert!(number(b"max\n").is_err());
    assert!(number(b"-1\n").is_err());
    assert!(number(b"99999999999999999999999\n").is_err());
    assert!(anon_shmem_v2(b"file 1\n").is_err());
    assert!(pids(b"12\nx\n", &mut Vec::new()).is_err());
}

#[test]
fn a_pid_of_another_namespace_is_skipped() {
    let mut found = Vec::new();
    pids(b"0\n17\n4194304\n", &mut found).unwrap();
    assert_eq!(found, [17, 4_194_304]);
}

proptest! {
    #[test]
    fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        everything(&bytes);
    }

    #[test]
    fn parsers_never_panic_on_almost_true_text(parts in proptest::collection::vec(prop_oneof![
        Just("usage_usec"), Just("oom_kill"), Just("total_rss"), Just("anon"), Just("some"), Just("total="), Just("rbytes="),
        Just("Read"), Just(" "), Just("\n"), Just("8:0"), Just("18446744073709551615"), Just("-"), Just("1")], 0..30)) {
        everything(parts.concat().as_bytes());
    }
}

fn everything(bytes: &[u8]) {
    let _outcomes = (number(bytes), cpu_stat_v2(bytes), cpu_stat_v1(bytes), oom_kills(bytes), anon_shmem_v1(bytes));
    let _outcomes = (anon_shmem_v2(bytes), io_stat(bytes), blkio_bytes(bytes), pressure_some(bytes), populated(bytes));
    let _pids = pids(bytes, &mut Vec::new());
}
