//! The record against what the job knows of itself.

use std::io::Write;

use jobmeter_protocol::{Method, Record};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::{Place, figures, has_cgroups, told};

/// Not a test: the job that the tests below meter. It tells its own CPU time at the last moment.
#[test]
#[ignore = "a workload of other tests"]
fn workload() {
    let Ok(kind) = std::env::var("WORKLOAD") else { return };
    match kind.as_str() {
        "burn" => {
            let mut x = 1_u64;
            while used() < 1_000_000 {
                for _ in 0..10_000 {
                    x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
            }
        }
        "burst" => {
            let mut memory = vec![0_u8; 300 << 20];
            memory.chunks_mut(4096).for_each(|page| page[0] = 1);
            std::hint::black_box(&mut memory);
        }
        other => panic!("{other}"),
    }
    writeln!(std::io::stdout(), "\nused {}", used()).unwrap();
    // What the harness would still do is nobody's figure.
    leave();
}

#[allow(unsafe_code)]
fn leave() -> ! {
    // SAFETY: `_exit` has no conditions.
    unsafe { nix::libc::_exit(0) }
}

/// Microseconds of CPU so far.
fn used() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
}

/// The record of the workload, and the CPU seconds that it knows of.
fn meter(kind: &str) -> (Record, f64) {
    let place = Place::new();
    let report = place.path().join("record.json");
    let output = place
        .jobmeter("run")
        .env("WORKLOAD", kind)
        .args(["--report", report.to_str().unwrap(), "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "run::accuracy::workload", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let used = said.lines().find_map(|line| line.strip_prefix("used ")).unwrap().parse::<f64>().unwrap();
    (serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap(), used / 1e6)
}

#[test]
fn cpu_time_is_what_the_job_used() {
    if !has_cgroups() {
        return;
    }
    let (record, used) = meter("burn");
    let (cpu, _) = figures(&record, Method::Kernel);
    // Its exit comes after it has told, so the record is above it: 3 ms were seen on a machine with more to do than cores.
    let off = (cpu - used) / used * 100.0;
    eprintln!("job {used:.6} s, record {cpu:.6} s: {off:+.3} %");
    assert!((-0.1..0.7).contains(&off), "{off:+.3} %");
}

#[test]
fn the_peak_is_the_memory_that_was_held_for_a_moment() {
    if !has_cgroups() {
        return;
    }
    let (record, _) = meter("burst");
    let (_, peak) = figures(&record, Method::Kernel);
    let over = peak as i64 - (300 << 20);
    eprintln!("held 300 MiB, peak {:.1} MiB above it", over as f64 / f64::from(1 << 20));
    // The test program itself, its page tables and file pages come on top.
    assert!((0..24 << 20).contains(&over), "{over}");
    let rss = record.usage.rss_peak_bytes.unwrap();
    assert_ne!(rss.method, Method::Kernel, "the kernel has no watermark without page cache");
}
