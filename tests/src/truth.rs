//! An independent witness: reads the kernel's own files at the pod level, with none of Jobmeter's code.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

/// What the files said when they were last there.
#[derive(Clone, Copy, Debug, Default)]
pub struct PodTruth {
    pub cpu_ns: u64,
    pub peak_bytes: u64,
    pub readings: u64,
}

/// Polls the pod directories of this machine's nodes until it is stopped. A pod's directory stays for a second or more after
/// its job has ended, so the last reading holds the job's whole cost.
#[derive(Debug)]
pub struct Observer {
    seen: Arc<Mutex<HashMap<String, PodTruth>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    pub fn start() -> Result<Self> {
        let roots: Vec<PathBuf> = ["A", "B"]
            .iter()
            .map(|node| {
                std::env::var(format!("JOBMETER_RIG_KUBEPODS_{node}")).map(|path| PathBuf::from(path.trim_start_matches('/')))
            })
            .collect::<Result<_, _>>()
            .context("the rig names no cgroup roots")?;
        let seen: Arc<Mutex<HashMap<String, PodTruth>>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let thread = thread::spawn({
            let (seen, stop) = (seen.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    for root in &roots {
                        look(root, &seen);
                    }
                    thread::sleep(Duration::from_millis(25));
                }
            }
        });
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// Ends the polling; keyed by pod UID.
    pub fn finish(mut self) -> HashMap<String, PodTruth> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        self.seen.lock().map(|seen| seen.clone()).unwrap_or_default()
    }
}

fn look(root: &Path, seen: &Mutex<HashMap<String, PodTruth>>) {
    let cpu_root = Path::new("/sys/fs/cgroup/cpuacct").join(root);
    let memory_root = Path::new("/sys/fs/cgroup/memory").join(root);
    for class in ["", "burstable", "besteffort"] {
        let Ok(entries) = fs::read_dir(memory_root.join(class)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(uid) = name.strip_prefix("pod") else { continue };
            let cpu = number(&cpu_root.join(class).join(&name).join("cpuacct.usage"));
            let peak = number(&entry.path().join("memory.max_usage_in_bytes"));
            if let (Some(cpu_ns), Some(peak_bytes), Ok(mut seen)) = (cpu, peak, seen.lock()) {
                let truth = seen.entry(uid.to_owned()).or_default();
                *truth = PodTruth {
                    cpu_ns: cpu_ns.max(truth.cpu_ns),
                    peak_bytes: peak_bytes.max(truth.peak_bytes),
                    readings: truth.readings + 1,
                };
            }
        }
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
