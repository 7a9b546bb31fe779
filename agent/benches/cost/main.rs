//! What the agent costs: the real program, on real cgroups, against a stand-in for API server and coordinator.
//!
//! `cargo bench -p jobmeter-agent --bench cost`. Prints CPU (percent of one core) and resident memory for a
//! node without job pods, with pods that sleep, and with pods of which every process runs ten times a second.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../../tests/it/cgroups.rs"]
mod cgroups;
mod standin;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cgroups::{Cgroups, Reaped, id};
use clap::Parser;
use jobmeter_hostfs::{HostRoot, machine};
use standin::StandIn;

#[derive(Parser)]
struct Args {
    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Measured in each phase.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Before measuring: young pods are looked at more often.
    #[arg(long, default_value_t = 60)]
    settle: u64,
    #[arg(long, default_value_t = 100)]
    pods: u32,
    #[arg(long, default_value_t = 5)]
    processes: u32,
    /// Only phases whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// One of the processes that are measured.
    #[arg(long, hide = true)]
    worker: bool,
}

fn main() {
    let args = Args::parse();
    if args.worker {
        loop {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    // `cargo test --all-targets` runs benchmarks without this flag.
    if !args.bench {
        return;
    }
    println!("kernel {}", machine::kernel_release(&HostRoot::local()).unwrap_or_default());
    println!("{:<44} {:>9} {:>9}", "", "CPU %", "RSS MiB");
    measure("no job pods", &args, |_| "exit");
    measure(&format!("{} pods × {} processes, asleep", args.pods, args.processes), &args, |_| "exec sleep 100000");
    let worker = format!("exec {} --worker", std::env::current_exe().unwrap().display());
    measure(&format!("{} pods × {} processes, 10 wake-ups/s each", args.pods, args.processes), &args, |_| &worker);
}

fn measure<'a>(name: &str, args: &Args, script: impl Fn(u32) -> &'a str) {
    if !name.contains(&args.only) {
        return;
    }
    let Some(cgroups) = Cgroups::new() else { return };
    let pods = if script(0) == "exit" { 0 } else { args.pods };
    let uids: Vec<String> = (0..pods).map(cgroups::uid).collect();
    let mut workers = Vec::new();
    for (n, uid) in (0..).zip(&uids) {
        let sandbox = cgroups.make(&format!("kubepods/besteffort/pod{uid}/{}", id(2 * n)));
        let container = cgroups.make(&format!("kubepods/besteffort/pod{uid}/{}", id(2 * n + 1)));
        workers.push(spawn(&cgroups, &sandbox, "exec sleep 100000"));
        workers.extend((0..args.processes).map(|_| spawn(&cgroups, &container, script(n))));
    }
    let standin = StandIn::start(&uids);
    let state = tempfile::TempDir::new().unwrap();
    let mut agent = start_agent(&cgroups, &standin, state.path());
    std::thread::sleep(Duration::from_secs(args.settle));
    let (before, from) = (cpu_seconds(&agent.0), Instant::now());
    std::thread::sleep(Duration::from_secs(args.seconds));
    let elapsed = from.elapsed().as_secs_f64();
    assert_eq!(agent.0.try_wait().unwrap(), None, "the agent is alive");
    let mut by_thread = cpu_seconds(&agent.0);
    for (thread, seconds) in &mut by_thread {
        *seconds = 100.0 * (*seconds - before.get(thread).unwrap_or(&0.0)) / elapsed;
    }
    let percent: f64 = by_thread.values().sum();
    println!("{name:<44} {percent:>9.3} {:>9.1}", resident_mib(&agent.0));
    for (thread, percent) in by_thread.iter().filter(|(_, percent)| **percent > 0.0005) {
        println!("    {thread:<40} {percent:>9.3}");
    }
    assert_eq!(standin.live(), pods, "the agent metered all of them");
}

fn spawn(cgroups: &Cgroups, path: &Path, script: &str) -> Reaped {
    Reaped(cgroups.command(path, script).stdout(Stdio::null()).spawn().unwrap())
}

fn start_agent(cgroups: &Cgroups, standin: &StandIn, state: &Path) -> Reaped {
    let kubeconfig = state.join("kubeconfig");
    fs::write(&kubeconfig, standin.kubeconfig()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobmeter-agent"));
    command
        .args(["--node", "node-a", "--listen", "127.0.0.1:0", "--log", "warn"])
        .args(["--coordinator-url", &standin.url()])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--state-dir")
        .arg(state.join("agent"))
        .arg("--cgroup-root")
        .arg(Path::new("/").join(&cgroups.root));
    Reaped(command.spawn().unwrap())
}

/// Of each thread, to the nanosecond.
fn cpu_seconds(process: &Child) -> BTreeMap<String, f64> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{}/task", process.id())).expect("the agent is alive").flatten() {
        let text = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let ns = text("schedstat").split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        *threads.entry(text("comm").trim().to_owned()).or_default() += Duration::from_nanos(ns).as_secs_f64();
    }
    threads
}

fn resident_mib(process: &Child) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
