//! Burns CPU in a child and says what `wait4(2)` says of it: the ground truth of the cluster tests, and nothing else.
//!
//! `burn MILLISECONDS` prints `cpu_ns=… max_rss_bytes=…`.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

fn main() -> anyhow::Result<()> {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if let Some(milliseconds) = argument.strip_prefix("child=") {
        burn(Duration::from_millis(milliseconds.parse()?));
        return Ok(());
    }
    let itself = std::env::current_exe()?;
    let status = std::process::Command::new(itself).arg(format!("child={argument}")).status()?;
    anyhow::ensure!(status.success(), "the burning child ended with {status}");
    // Waited for above, so this is the sum of what wait4 returned, which here is one child.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu_us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    println!("cpu_ns={} max_rss_bytes={}", cpu_us * 1000, usage.max_rss() * 1024);
    Ok(())
}

/// Until the process has used that much CPU, however long that takes.
fn burn(cpu: Duration) {
    let mut x = 1u64;
    let start = Instant::now();
    loop {
        for _ in 0..200_000 {
            x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        let used =
            getrusage(UsageWho::RUSAGE_SELF).map(|u| u.user_time().num_microseconds() + u.system_time().num_microseconds());
        if used.map_or(start.elapsed() > cpu, |used| used >= i64::try_from(cpu.as_micros()).unwrap_or(i64::MAX)) {
            return;
        }
    }
}
