//! The figures of one pod and of its containers, ready to be shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jobmeter_decide::books::Totals;
use jobmeter_protocol::{ApiPod, Method, PodEvidence};

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) pod_uid: String,
    pub(super) namespace: String,
    pub(super) pod: String,
    /// The controlling owner's name; the pod's own where it has none.
    pub(super) job: String,
    pub(super) totals: Totals,
    /// Whether the kernel keeps the watermark, or samples stand in for it.
    pub(super) peak_method: Method,
    pub(super) rss_method: Method,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    pub(super) containers: BTreeMap<String, Container>,
}

/// All runs of a container under one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container {
    pub(super) cpu_ns: u64,
    pub(super) memory_peak_bytes: Option<u64>,
    pub(super) method: Method,
}

impl Group {
    pub(super) fn of(api: Option<&ApiPod>, evidence: &PodEvidence) -> Self {
        let totals = Totals::of(evidence);
        let pod = evidence.pod.clone().unwrap_or_else(|| evidence.pod_uid.clone());
        let owner = api.and_then(|api| api.owner.as_ref());
        let all_ended = !evidence.containers.is_empty() && evidence.containers.iter().all(|c| c.ended.is_some());
        let watermark = evidence.segments.iter().any(|segment| segment.reading.memory.is_some_and(|m| m.peak_bytes.is_some()));
        Self {
            pod_uid: evidence.pod_uid.clone(),
            namespace: evidence.namespace.clone().unwrap_or_default(),
            job: owner.map_or_else(|| pod.clone(), |owner| owner.name.clone()),
            pod,
            totals,
            peak_method: if watermark { totals.method } else { Method::Sampled },
            rss_method: if evidence.sampled.samples == 0 { Method::Rusage } else { Method::Sampled },
            started: evidence.containers.iter().filter_map(|c| c.started).min(),
            ended: if all_ended { evidence.containers.iter().filter_map(|c| c.ended).max() } else { None },
            containers: containers(evidence),
        }
    }

    pub(super) fn size(&self) -> usize {
        1 + self.containers.len()
    }
}

fn containers(evidence: &PodEvidence) -> BTreeMap<String, Container> {
    let mut containers: BTreeMap<String, Container> = BTreeMap::new();
    for run in &evidence.containers {
        let (Some(name), Some(reading)) = (&run.name, &run.reading) else { continue };
        let Some(cpu) = reading.cpu else { continue };
        let peak = reading.memory.and_then(|memory| memory.peak_bytes);
        let container =
            containers.entry(name.clone()).or_insert(Container { cpu_ns: 0, memory_peak_bytes: None, method: run.method });
        container.cpu_ns = container.cpu_ns.saturating_add(cpu.usage_ns);
        container.memory_peak_bytes = container.memory_peak_bytes.max(peak);
        container.method = container.method.max(run.method);
    }
    containers
}
