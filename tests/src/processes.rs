//! Jobmeter's own processes on the nodes of this machine: ended as a crash would end them, and weighed.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The nodes that share this machine's kernel, as the rig's variables end.
const NODES: [&str; 2] = ["A", "B"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    parent: i32,
    /// `A` or `B`.
    pub node: &'static str,
    /// UID of its pod.
    pub pod: String,
}

/// Every process of a program in the pods of these nodes.
pub fn of(program: &str) -> Result<Vec<Process>> {
    // The kernel keeps 15 bytes of a name.
    let comm = program.get(..15).unwrap_or(program);
    let trees = NODES
        .map(|node| std::env::var(format!("JOBMETER_RIG_KUBEPODS_{node}")).map(|tree| (node, format!(":{tree}/"))))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .context("the rig names no cgroup roots")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may go while it is looked at.
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        if file("comm").trim_end() != comm {
            continue;
        }
        let cgroups = file("cgroup");
        let Some((node, _)) = trees.iter().find(|(_, tree)| cgroups.contains(tree.as_str())) else { continue };
        let Some(parent) = status(&file("status"), "PPid:") else { continue };
        found.push(Process { pid, parent: i32::try_from(parent)?, node, pod: pod_of(&cgroups).to_owned() });
    }
    Ok(found)
}

/// SIGKILL to every process of a program, as a crash would end it. How many there were.
pub fn kill_dash_nine(program: &str) -> Result<usize> {
    let found = of(program)?;
    for process in &found {
        send(process.pid, Signal::SIGKILL)?;
    }
    Ok(found.len())
}

/// SIGKILL to the processes that work, and not to those that only start them again. How many, by node.
pub fn kill_workers(program: &str) -> Result<BTreeMap<&'static str, usize>> {
    let found = of(program)?;
    let is_guard = |process: &Process| found.iter().any(|other| other.parent == process.pid);
    let mut killed = BTreeMap::new();
    for worker in found.iter().filter(|process| !is_guard(process)) {
        send(worker.pid, Signal::SIGKILL)?;
        *killed.entry(worker.node).or_insert(0) += 1;
    }
    Ok(killed)
}

/// A process that has gone by itself is as good as one that was sent away.
pub fn send(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to send {signal} to {pid}")),
    }
}

/// The greatest resident memory of a program's processes from now on, as the kernel keeps it.
#[derive(Debug)]
pub struct HighWater {
    program: String,
    processes: Vec<Process>,
}

impl HighWater {
    pub fn begin(program: &str) -> Result<Self> {
        let processes = of(program)?;
        ensure!(!processes.is_empty(), "no {program} runs on this machine's nodes");
        for process in &processes {
            // 5: forget the peak that was.
            fs::write(format!("/proc/{}/clear_refs", process.pid), "5")
                .with_context(|| format!("failed to reset the high water of {program} ({})", process.pid))?;
        }
        Ok(Self { program: program.to_owned(), processes })
    }

    /// In bytes, of the node where it is the most; a guard and its worker are one.
    pub fn end(self) -> Result<u64> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for process in &self.processes {
            let text = fs::read_to_string(format!("/proc/{}/status", process.pid));
            let kib = text.ok().and_then(|text| status(&text, "VmHWM:"));
            let kib = kib.with_context(|| format!("{} ({}) ended while it was weighed", self.program, process.pid))?;
            *sums.entry(process.node).or_default() += kib * 1024;
        }
        sums.into_values().max().context("nothing was weighed")
    }
}

/// From `…/pod<uid>/<container>`.
fn pod_of(cgroups: &str) -> &str {
    let uid = cgroups.split('/').find_map(|folder| folder.strip_prefix("pod").filter(|uid| uid.len() == 36));
    uid.unwrap_or_default()
}

/// CPU that the pod of a process has used, in nanoseconds, as its cgroup says.
pub fn cpu_ns(process: &Process) -> Result<u64> {
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", process.pid))?;
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let Some((pod, _)) = path.rsplit_once('/') else { continue };
        if controllers.split(',').any(|controller| controller == "cpuacct") {
            let text = fs::read_to_string(format!("/sys/fs/cgroup/cpuacct{pod}/cpuacct.usage"))?;
            return text.trim().parse().context("cpuacct.usage");
        }
        let unified = fs::read_to_string(format!("/sys/fs/cgroup{pod}/cpu.stat")).unwrap_or_default();
        if controllers.is_empty()
            && let Some(us) = status(&unified, "usage_usec")
        {
            return Ok(us * 1000);
        }
    }
    anyhow::bail!("no cgroup of {} counts CPU: {cgroups}", process.pid)
}

fn status(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}
