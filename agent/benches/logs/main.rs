//! How fast logs get from the spool to a store, and with how much memory.
//!
//! `cargo bench -p jobmeter-agent --bench logs [-- --mib 2048]`. A spool of CRI files is shipped over loopback to a store that
//! discards, in a process of its own, by the code that the agent runs. Beside it: `cp` of the same file, and a bare client
//! that puts the same bytes. `core` is MiB per second of the process's own CPU time, user and system.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark stops at the first surprise")]

mod run;
mod sink;
mod spool;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use clap::Parser;
use nix::sys::resource::{UsageWho, getrusage};
use run::{Figures, Mode};

#[derive(Parser)]
struct Args {
    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Size of the log.
    #[arg(long, default_value_t = 512)]
    mib: u64,
    /// Where the spool is made.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    directory: PathBuf,
    /// In a process of its own.
    #[arg(long, hide = true)]
    mode: Option<Mode>,
    #[arg(long, hide = true)]
    store: Option<String>,
}

fn main() {
    let args = Args::parse();
    if let Some(mode) = args.mode {
        println!("{}", run::run(mode, &args.directory, &args.store.unwrap()));
        return;
    }
    // `cargo test --all-targets` runs benchmarks without this flag.
    if !args.bench {
        return;
    }
    let spool = tempfile::TempDir::new_in(&args.directory).unwrap();
    let file = spool::write(spool.path(), args.mib * 1024 * 1024);
    let sink = sink::Sink::start();
    println!("{:<34} {:>8} {:>12} {:>9}", format!("{} MiB of CRI lines", args.mib), "MiB/s", "MiB/s core", "peak MiB");
    show("cp", &copy(&file));
    for mode in [Mode::Put, Mode::Text, Mode::TextZstd, Mode::TextGzip, Mode::Cri, Mode::Small] {
        // Shipping lets the page cache go; each begins alike.
        warm(&file);
        let figures = child(mode, spool.path(), &sink.url());
        show(mode.name(), &figures);
    }
    // Theirs, of other machines: not measured here.
    println!("beside it, as Vector publishes of itself: 10 to 77 MiB/s");
}

fn child(mode: Mode, directory: &Path, store: &str) -> Figures {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--mode", mode.word(), "--store", store, "--directory"]).arg(directory).stdout(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", mode.name(), output.status);
    Figures::parse(&String::from_utf8(output.stdout).unwrap())
}

fn show(name: &str, figures: &Figures) {
    let mib = figures.bytes as f64 / 1024.0 / 1024.0;
    let peak = figures.peak_mib.map_or("-".to_owned(), |peak| format!("{peak:.1}"));
    println!("{name:<34} {:>8.0} {:>12.0} {peak:>9}", mib / figures.seconds, mib / figures.cpu_seconds);
}

fn copy(file: &Path) -> Figures {
    warm(file);
    let copy = file.with_extension("copy");
    let (before, begun) = (cpu_seconds(UsageWho::RUSAGE_CHILDREN), Instant::now());
    assert!(Command::new("cp").arg(file).arg(&copy).status().unwrap().success());
    let (seconds, cpu_seconds) = (begun.elapsed().as_secs_f64(), cpu_seconds(UsageWho::RUSAGE_CHILDREN) - before);
    let bytes = std::fs::metadata(&copy).unwrap().len();
    std::fs::remove_file(copy).unwrap();
    Figures { bytes, seconds, cpu_seconds, peak_mib: None }
}

fn warm(file: &Path) {
    std::io::copy(&mut std::fs::File::open(file).unwrap(), &mut std::io::sink()).unwrap();
}

fn cpu_seconds(who: UsageWho) -> f64 {
    let usage = getrusage(who).unwrap();
    [usage.user_time(), usage.system_time()].iter().map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).sum()
}
