//! `jobmeter __workload`: programs whose cost is known, for `jobmeter doctor --prove`. Not for people.
//!
//! In: arguments. Out: CPU time, memory, children, page cache, as said; what the workload knows of itself goes to a file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use jobmeter_hostfs::HostRoot;
use jobmeter_hostfs::process::{ProcessSample, Scanner};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

pub(crate) const COMMAND: &str = "__workload";
pub(crate) const MIB: u64 = 1 << 20;

#[derive(Debug, Parser)]
struct WorkloadArgs {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// Uses so much CPU time
    Burn {
        #[arg(long)]
        ms: u64,
    },
    /// Allocates and touches so much memory, and holds it for a moment
    Burst {
        #[arg(long)]
        mib: u64,
        #[arg(long)]
        hold_ms: u64,
        #[arg(long)]
        tell: PathBuf,
    },
    /// Starts and awaits so many children, each using so much CPU time
    Storm {
        #[arg(long)]
        children: u32,
        #[arg(long)]
        at_once: usize,
        #[arg(long)]
        ms: u64,
    },
    /// Writes so much to a file and reads it again
    Cache {
        #[arg(long)]
        mib: u64,
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        hold_ms: u64,
        #[arg(long)]
        tell: PathBuf,
    },
}

/// What a workload read of itself at its largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confession {
    /// `VmHWM`.
    pub(crate) hwm_bytes: u64,
    /// `RssAnon` + `RssShmem`.
    pub(crate) anon_shmem_bytes: u64,
}

pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let program = [OsString::from(COMMAND)];
    let done = match WorkloadArgs::try_parse_from(program.iter().chain(arguments)) {
        Ok(args) => run(args.workload),
        Err(error) => Err(io::Error::other(error.to_string())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{COMMAND}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(workload: Workload) -> io::Result<()> {
    match workload {
        Workload::Burn { ms } => burn(Duration::from_millis(ms)),
        Workload::Burst { mib, hold_ms, tell } => burst(mib, Duration::from_millis(hold_ms), &tell),
        Workload::Storm { children, at_once, ms } => storm(children, at_once.max(1), ms),
        Workload::Cache { mib, file, hold_ms, tell } => cache(mib, &file, Duration::from_millis(hold_ms), &tell),
    }
}

fn burn(wanted: Duration) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while used()? < wanted {
        for _ in 0..20_000 {
            state = black_box(state ^ (state << 13)).rotate_left(7).wrapping_mul(0x2545_f491_4f6c_dd1d);
        }
    }
    black_box(state);
    Ok(())
}

/// CPU time of this process so far.
fn used() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

fn burst(mib: u64, hold: Duration, tell: &PathBuf) -> io::Result<()> {
    let size = usize::try_from(mib * MIB).map_err(io::Error::other)?;
    let mut memory = vec![0_u8; size];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    black_box(&mut memory);
    let peak = confess()?;
    std::thread::sleep(hold);
    black_box(&memory);
    drop(memory);
    write_confession(tell, peak)
}

fn storm(children: u32, at_once: usize, ms: u64) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let mut running = std::collections::VecDeque::new();
    for _ in 0..children {
        if running.len() >= at_once
            && let Some(child) = running.pop_front()
        {
            wait(child)?;
        }
        running.push_back(Command::new(&program).args([COMMAND, "burn", "--ms", &ms.to_string()]).spawn()?);
    }
    running.into_iter().try_for_each(wait)
}

fn wait(mut child: std::process::Child) -> io::Result<()> {
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("a child ended with {status}"))) }
}

fn cache(mib: u64, path: &PathBuf, hold: Duration, tell: &PathBuf) -> io::Result<()> {
    let block = vec![0x5a_u8; usize::try_from(MIB).map_err(io::Error::other)?];
    let mut file = File::create(path)?;
    for _ in 0..mib {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    drop(block);
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut file = File::open(path)?;
    while file.read(&mut buffer)? > 0 {}
    let until = Instant::now() + hold;
    let peak = confess()?;
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    fs::remove_file(path)?;
    write_confession(tell, peak)
}

fn confess() -> io::Result<Confession> {
    let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let sample = Scanner::new(&HostRoot::local()).read(pid).map_err(io::Error::other)?;
    let figures =
        |sample: ProcessSample| Some(Confession { hwm_bytes: sample.hwm_bytes?, anon_shmem_bytes: sample.anon_shmem_bytes? });
    sample.and_then(figures).ok_or_else(|| io::Error::other("the kernel does not tell this process its own memory"))
}

fn write_confession(path: &PathBuf, confession: Confession) -> io::Result<()> {
    fs::write(path, serde_json::to_vec(&confession)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burn_uses_what_it_says_and_little_more() {
        let before = used().unwrap();
        burn(before + Duration::from_millis(30)).unwrap();
        let burnt = used().unwrap() - before;
        assert!(burnt >= Duration::from_millis(30) && burnt < Duration::from_millis(300), "{burnt:?}");
    }
}
