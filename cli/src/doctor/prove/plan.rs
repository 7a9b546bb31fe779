//! The trials: what is run, and what its figures must be. Tolerances are part of the proof: they are printed beside it.

use std::io;
use std::path::{Path, PathBuf};

use jobmeter_protocol::{Figure, Method, Record};
use serde_json::json;

use super::judge::{Check, Tolerance, Unit};
use crate::output::Pods;
use crate::workload::{COMMAND, Confession, MIB};

/// One job that is run for the proof.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) kind: Kind,
    /// For people, while it runs.
    pub(super) what: String,
    /// Name of the job.
    pub(super) name: &'static str,
    /// A `batch/v1` Job, as JSON: every YAML reader takes it.
    pub(super) manifest: String,
    /// Where the workload writes what it knows of itself.
    pub(super) tell: Option<PathBuf>,
    pub(super) pods: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Burn,
    Burst,
    Swarm,
    Storm,
    Cache,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) records: Vec<Record>,
    /// What `wait4` said, over all children that were reaped during the trial.
    pub(super) waited_cpu_seconds: f64,
    pub(super) confession: Option<Confession>,
}

const BURN_MS: u64 = 200;
const BURST_MIB: u64 = 64;
const BURST_HOLD_MS: u64 = 20;
const SWARM_JOBS: u32 = 200;
const SWARM_AT_ONCE: u32 = 2;
const STORM_CHILDREN: u32 = 300;
const CACHE_MIB: u64 = 64;

/// Of the CPU time, and for each process start what happens before the child has entered its cgroup.
const CPU_RATIO: f64 = 0.005;
const CPU_PER_START: f64 = 0.000_1;
const CPU_AT_LEAST: f64 = 0.001;
/// A batch of 64 pages is charged ahead on each CPU it ran on; stacks and kernel structures are charged, too.
const MEMORY_SLACK: f64 = MIB as f64;
/// What the workload still touches after it has looked at itself.
const AFTERMATH: f64 = 2.0 * MIB as f64;
/// Eight bytes of page table for each page.
const PAGE_TABLES: f64 = 1.0 + 8.0 / 4096.0;

pub(super) fn trials(directory: &Path) -> io::Result<Vec<Trial>> {
    let program = std::env::current_exe()?;
    let tell = |name: &str| directory.join(format!("{name}.json"));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let trial = |kind, name, what: String, (pods, at_once): (u32, u32), tell: Option<PathBuf>, workload: Vec<String>| {
        let command: Vec<String> = [text(&program), COMMAND.to_owned()].into_iter().chain(workload).collect();
        Trial { kind, what, name, manifest: manifest(name, pods, at_once, &command), tell, pods }
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let number = |number: u64| number.to_string();
    Ok(vec![
        trial(
            Kind::Burn,
            "proof-burn",
            format!("a CPU burn of {BURN_MS} ms"),
            (1, 1),
            None,
            words(&["burn", "--ms", &number(BURN_MS)]),
        ),
        trial(
            Kind::Burst,
            "proof-burst",
            format!("{BURST_MIB} MiB held for {BURST_HOLD_MS} ms"),
            (1, 1),
            Some(tell("burst")),
            words(&["burst", "--mib", &number(BURST_MIB), "--hold-ms", &number(BURST_HOLD_MS), "--tell", &text(&tell("burst"))]),
        ),
        trial(
            Kind::Swarm,
            "proof-swarm",
            format!("{SWARM_JOBS} jobs of 1 ms"),
            (SWARM_JOBS, SWARM_AT_ONCE),
            None,
            words(&["burn", "--ms", "1"]),
        ),
        trial(
            Kind::Storm,
            "proof-storm",
            format!("a storm of {STORM_CHILDREN} children"),
            (1, 1),
            None,
            words(&["storm", "--children", &STORM_CHILDREN.to_string(), "--at-once", "8", "--ms", "1"]),
        ),
        trial(
            Kind::Cache,
            "proof-cache",
            format!("a file of {CACHE_MIB} MiB written and read"),
            (1, 1),
            Some(tell("cache")),
            words(&[
                "cache",
                "--mib",
                &number(CACHE_MIB),
                "--file",
                &text(&directory.join("cached")),
                "--hold-ms",
                "20",
                "--tell",
                &text(&tell("cache")),
            ]),
        ),
    ])
}

fn manifest(name: &str, pods: u32, at_once: u32, command: &[String]) -> String {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name },
        "spec": {
            "completions": pods,
            "parallelism": at_once,
            "backoffLimit": 0,
            "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "workload", "command": command }] } },
        },
    })
    .to_string()
}

pub(super) fn checks(trial: &Trial, outcome: &Outcome) -> Vec<Check> {
    let records = Check {
        workload: workload(trial.kind),
        figure: "records",
        unit: Unit::Count,
        truth: f64::from(trial.pods),
        truth_from: "jobs started",
        // Counted here: a record more or less than pods is our own mistake, so it has to be exact.
        reported: Some(Figure::kernel(outcome.records.len() as f64)),
        tolerance: Tolerance::Around { ratio: 0.0, absolute: 0.0 },
    };
    let mut checks = if trial.pods > 1 { vec![records] } else { Vec::new() };
    if matches!(trial.kind, Kind::Burn | Kind::Swarm | Kind::Storm) {
        checks.push(cpu(trial, outcome));
    }
    if trial.pods > 1 {
        checks.push(exact_pods(trial, outcome));
    }
    checks.extend(memory(trial, outcome));
    checks
}

fn cpu(trial: &Trial, outcome: &Outcome) -> Check {
    Check {
        workload: workload(trial.kind),
        figure: "cpu",
        unit: Unit::Seconds,
        truth: outcome.waited_cpu_seconds,
        truth_from: "wait4",
        reported: Pods(&outcome.records).sum(|usage| usage.cpu_seconds),
        tolerance: Tolerance::Around { ratio: CPU_RATIO, absolute: (CPU_PER_START * f64::from(trial.pods)).max(CPU_AT_LEAST) },
    }
}

/// How many pods have CPU and peak, and the weakest method among them.
fn exact_pods(trial: &Trial, outcome: &Outcome) -> Check {
    let methods: Vec<Method> = outcome
        .records
        .iter()
        .filter_map(|record| Some(record.usage.cpu_seconds?.method.max(record.usage.memory_peak_bytes?.method)))
        .collect();
    let weakest = methods.iter().copied().max();
    Check {
        workload: workload(trial.kind),
        figure: "with cpu, peak",
        unit: Unit::Count,
        truth: f64::from(trial.pods),
        truth_from: "jobs started",
        reported: weakest.map(|method| Figure::new(methods.len() as f64, method)),
        tolerance: Tolerance::Around { ratio: 0.0, absolute: 0.0 },
    }
}

fn memory(trial: &Trial, outcome: &Outcome) -> Vec<Check> {
    let Some(confession) = outcome.confession else {
        return Vec::new();
    };
    let pods = Pods(&outcome.records);
    let number = |figure: Figure<u64>| figure.map(|bytes| bytes as f64);
    let peak = pods.largest(|usage| usage.memory_peak_bytes).map(number);
    let rss = pods.largest(|usage| usage.rss_peak_bytes).map(number);
    let own = confession.anon_shmem_bytes as f64;
    let (truth, truth_from, tolerance) = match trial.kind {
        // Written pages and the tables that find them; the file system may add metadata of its own.
        Kind::Cache => (own + (CACHE_MIB * MIB) as f64, "file + own RssAnon", Tolerance::FromTruth { above: 8.0 * MEMORY_SLACK }),
        _ => (own * PAGE_TABLES, "own RssAnon + page tables", Tolerance::Around { ratio: 0.0, absolute: MEMORY_SLACK }),
    };
    let check = |figure, truth, truth_from, reported, tolerance| Check {
        workload: workload(trial.kind),
        figure,
        unit: Unit::Bytes,
        truth,
        truth_from,
        reported,
        tolerance,
    };
    let hwm = confession.hwm_bytes as f64;
    vec![
        check("memory peak", truth, truth_from, peak, tolerance),
        check("peak without cache", hwm, "own VmHWM", rss, Tolerance::UpToTruth { above: AFTERMATH }),
    ]
}

const fn workload(kind: Kind) -> &'static str {
    match kind {
        Kind::Burn => "cpu burn",
        Kind::Burst => "memory burst",
        Kind::Swarm => "jobs of 1 ms",
        Kind::Storm => "fork storm",
        Kind::Cache => "page cache",
    }
}
