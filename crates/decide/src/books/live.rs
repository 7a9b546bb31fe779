//! What runs now, for `jobmeter top` and for `/metrics`.

use jiff::Timestamp;
use jobmeter_protocol::{ApiPod, LivePod, Method, PodEvidence, Reading, Stage};

use super::{
    Books, Entry,
    observation::Sample,
    pod::{Job, Pod},
};

/// The last two looks at the CPU counter, and the last at the rest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Live {
    cpu: Option<(Timestamp, u64)>,
    cpu_before: Option<(Timestamp, u64)>,
    memory_bytes: Option<u64>,
    processes: u32,
}

/// A pod's totals as of its evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    pub cpu_ns: u64,
    pub method: Method,
    pub memory_peak_bytes: Option<u64>,
    pub rss_peak_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
}

impl Live {
    pub(super) fn advance(&mut self, sample: &Sample) {
        if let Some(cpu_ns) = sample.cpu_ns
            && self.cpu.is_none_or(|(at, _)| at < sample.at)
        {
            self.cpu_before = self.cpu.replace((sample.at, cpu_ns));
        }
        self.memory_bytes = sample.memory_bytes.or(self.memory_bytes);
        self.processes = sample.processes.as_ref().map_or(self.processes, |scan| scan.count);
    }

    fn cores(&self) -> Option<f64> {
        let ((from, before), (to, after)) = (self.cpu_before?, self.cpu?);
        let elapsed = from.duration_until(to).as_secs_f64();
        let used = std::time::Duration::from_nanos(after.checked_sub(before)?).as_secs_f64();
        (elapsed > 0.0).then(|| used / elapsed)
    }
}

impl Totals {
    /// CPU is the sum over the lives of the pod's cgroup, peaks are the greatest; the weakest method labels them.
    pub fn of(evidence: &PodEvidence) -> Self {
        let memory = |pick: fn(&Reading) -> Option<u64>| evidence.segments.iter().filter_map(|s| pick(&s.reading)).max();
        let sampled = &evidence.sampled;
        Self {
            cpu_ns: evidence.segments.iter().filter_map(|s| Some(s.reading.cpu?.usage_ns)).fold(0, u64::saturating_add),
            method: evidence.segments.iter().map(|s| s.method).max().unwrap_or(Method::Sampled),
            memory_peak_bytes: memory(|r| r.memory?.peak_bytes).or(sampled.usage_peak_bytes),
            rss_peak_bytes: sampled.anon_shmem_peak_bytes.max(sampled.process_hwm_bytes),
            oom_kills: memory(|r| r.memory?.oom_kills),
        }
    }
}

impl Books {
    /// Job pods of which there is evidence, running or waiting to be acknowledged.
    pub fn metered(&self) -> impl Iterator<Item = (Option<&ApiPod>, PodEvidence)> {
        let jobs = self.pods.values().filter_map(|entry| match entry {
            Entry::Tracked(pod) if pod.job == Job::Yes && pod.has_evidence() => Some(pod),
            _ => None,
        });
        jobs.map(|pod| (pod.api.as_ref(), pod.view(&self.options)))
    }

    /// How many pods have evidence that waits for its acknowledgement.
    pub fn unacknowledged(&self) -> usize {
        let waits = |pod: &Pod| pod.job == Job::Yes && pod.has_evidence() && pod.revision > pod.acked;
        self.pods.values().filter(|entry| matches!(entry, Entry::Tracked(pod) if waits(pod))).count()
    }

    /// Job pods that run now.
    pub fn live(&self) -> Vec<LivePod> {
        let tracked = self.pods.values().filter_map(|entry| match entry {
            Entry::Tracked(pod) => Some(pod),
            Entry::Ignored(_) => None,
        });
        tracked.filter(|pod| pod.job == Job::Yes && pod.has_evidence()).filter_map(|pod| self.live_pod(pod)).collect()
    }

    fn live_pod(&self, pod: &Pod) -> Option<LivePod> {
        if pod.stage(&self.options) > Stage::Running {
            return None;
        }
        let api = pod.api.as_ref();
        let totals = Totals::of(&pod.evidence);
        let sampled = pod.live.cpu;
        let read = pod.evidence.segments.iter().map(|segment| segment.reading.at).max();
        Some(LivePod {
            pod_uid: pod.uid.clone(),
            namespace: api.map(|api| api.namespace.clone()).or_else(|| pod.evidence.namespace.clone()).unwrap_or_default(),
            pod: api.map(|api| api.name.clone()).or_else(|| pod.evidence.pod.clone()).unwrap_or_default(),
            node: self.options.node.clone(),
            owner: api.and_then(|api| api.owner.clone()),
            at: sampled.map(|(at, _)| at).max(read).unwrap_or(pod.first_known),
            started: pod.evidence.containers.iter().filter_map(|container| container.started).min(),
            method: totals.method,
            cpu_ns: totals.cpu_ns.max(sampled.map_or(0, |(_, cpu_ns)| cpu_ns)),
            cpu_cores: pod.live.cores(),
            memory_bytes: pod.live.memory_bytes,
            memory_peak_bytes: totals.memory_peak_bytes,
            rss_peak_bytes: totals.rss_peak_bytes,
            processes: pod.live.processes,
        })
    }
}
