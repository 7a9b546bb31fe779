//! Figures of a pod from its segments, and of a container from its own reading.

use jobmeter_protocol::{
    ContainerEvidence, CpuCounters, Figure, MemoryCounters, Method, PodEvidence, Reading, Sampled, Segment, Usage,
};

pub(super) fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}

/// Counters are the sum over the pod's segments, watermarks their maximum; the weakest method among them labels both.
pub(super) fn of_pod(evidence: &PodEvidence) -> Usage {
    let over = Segments(&evidence.segments);
    Usage {
        cpu_seconds: over.sum(|r| Some(r.cpu?.usage_ns)).map(|f| f.map(seconds)),
        cpu_user_seconds: over.sum(|r| r.cpu?.user_ns).map(|f| f.map(seconds)),
        cpu_system_seconds: over.sum(|r| r.cpu?.system_ns).map(|f| f.map(seconds)),
        throttled_seconds: over.sum(|r| r.cpu?.throttled_ns).map(|f| f.map(seconds)),
        throttled_periods: over.sum(|r| r.cpu?.throttled_periods),
        memory_peak_bytes: over.max(|r| r.memory?.peak_bytes).or(sampled_peak(&evidence.sampled)),
        rss_peak_bytes: rss_peak(&evidence.sampled),
        swap_peak_bytes: over.max(|r| r.memory?.swap_peak_bytes),
        oom_kills: oom_kills(evidence),
        pids_peak: over.max(|r| r.pids_peak),
        io_read_bytes: over.sum(|r| Some(r.io?.read_bytes)),
        io_written_bytes: over.sum(|r| Some(r.io?.written_bytes)),
        cpu_pressure_seconds: over.sum(|r| r.pressure?.cpu_some_us).map(|f| f.map(microseconds)),
        memory_pressure_seconds: over.sum(|r| r.pressure?.memory_some_us).map(|f| f.map(microseconds)),
        io_pressure_seconds: over.sum(|r| r.pressure?.io_some_us).map(|f| f.map(microseconds)),
    }
}

/// What the container's own cgroup said; nothing where it went unread.
pub(super) fn of_container(container: &ContainerEvidence) -> Usage {
    let method = container.method;
    let reading = container.reading.as_ref();
    let cpu: Option<CpuCounters> = reading.and_then(|r| r.cpu);
    let memory: Option<MemoryCounters> = reading.and_then(|r| r.memory);
    let time = |ns: Option<u64>| ns.map(|ns| Figure::new(seconds(ns), method));
    let count = |value: Option<u64>| value.map(|value| Figure::new(value, method));
    let pressure = reading.and_then(|r| r.pressure);
    let stalled = |us: Option<u64>| us.map(|us| Figure::new(microseconds(us), method));
    Usage {
        cpu_seconds: time(cpu.map(|c| c.usage_ns)),
        cpu_user_seconds: time(cpu.and_then(|c| c.user_ns)),
        cpu_system_seconds: time(cpu.and_then(|c| c.system_ns)),
        throttled_seconds: time(cpu.and_then(|c| c.throttled_ns)),
        throttled_periods: count(cpu.and_then(|c| c.throttled_periods)),
        memory_peak_bytes: count(memory.and_then(|m| m.peak_bytes)).or(sampled_peak(&container.sampled)),
        rss_peak_bytes: rss_peak(&container.sampled),
        swap_peak_bytes: count(memory.and_then(|m| m.swap_peak_bytes)),
        oom_kills: count(memory.and_then(|m| m.oom_kills)),
        pids_peak: count(reading.and_then(|r| r.pids_peak)),
        io_read_bytes: count(reading.and_then(|r| r.io).map(|io| io.read_bytes)),
        io_written_bytes: count(reading.and_then(|r| r.io).map(|io| io.written_bytes)),
        cpu_pressure_seconds: stalled(pressure.and_then(|p| p.cpu_some_us)),
        memory_pressure_seconds: stalled(pressure.and_then(|p| p.memory_some_us)),
        io_pressure_seconds: stalled(pressure.and_then(|p| p.io_some_us)),
    }
}

/// The pod's CPU that no container accounts for. Unknown as soon as one container went unread.
pub(super) fn overhead_cpu_seconds(evidence: &PodEvidence) -> Option<Figure<f64>> {
    if evidence.containers.is_empty() {
        return None;
    }
    let pod = Segments(&evidence.segments).sum(|r| Some(r.cpu?.usage_ns)).filter(|figure| figure.method == Method::Kernel)?;
    let containers = containers_cpu_ns(evidence)?;
    Some(Figure::new(seconds(pod.value.saturating_sub(containers)), Method::Derived))
}

/// Sum over all containers, if each was read.
fn containers_cpu_ns(evidence: &PodEvidence) -> Option<u64> {
    evidence.containers.iter().map(|c| Some(c.reading.as_ref()?.cpu?.usage_ns)).sum()
}

/// `pod − the others`, for the only container that went unread. It includes the sandbox, so it is `derived`, not `kernel`.
pub(super) fn derived_cpu(evidence: &PodEvidence, unread: &ContainerEvidence) -> Option<Figure<f64>> {
    let pod = Segments(&evidence.segments).sum(|r| Some(r.cpu?.usage_ns)).filter(|figure| figure.method == Method::Kernel)?;
    let others: Option<u64> = evidence
        .containers
        .iter()
        .filter(|c| c.container_id != unread.container_id)
        .map(|c| Some(c.reading.as_ref()?.cpu?.usage_ns))
        .sum();
    Some(Figure::new(seconds(pod.value.saturating_sub(others?)), Method::Derived))
}

/// v2 counts a pod's OOM kills at the pod, v1 only at each container: take whichever saw more.
fn oom_kills(evidence: &PodEvidence) -> Option<Figure<u64>> {
    let pod = Segments(&evidence.segments).sum(|r| r.memory?.oom_kills);
    let containers: Option<u64> = evidence
        .containers
        .iter()
        .filter_map(|c| c.reading.as_ref()?.memory?.oom_kills)
        .fold(None, |sum, n| Some(sum.unwrap_or(0) + n));
    match (pod, containers) {
        (Some(pod), Some(containers)) if containers > pod.value => Some(Figure::new(containers, Method::Derived)),
        (None, Some(containers)) => Some(Figure::new(containers, Method::Derived)),
        (pod, _) => pod,
    }
}

/// A lower bound, from whichever witness saw more. Without a single sample the only witness is `wait4`.
fn rss_peak(sampled: &Sampled) -> Option<Figure<u64>> {
    let bytes = sampled.anon_shmem_peak_bytes.max(sampled.process_hwm_bytes)?;
    Some(Figure::new(bytes, if sampled.samples == 0 { Method::Rusage } else { Method::Sampled }))
}

/// Only for kernels without a watermark.
fn sampled_peak(sampled: &Sampled) -> Option<Figure<u64>> {
    sampled.usage_peak_bytes.map(|bytes| Figure::new(bytes, Method::Sampled))
}

fn microseconds(us: u64) -> f64 {
    std::time::Duration::from_micros(us).as_secs_f64()
}

struct Segments<'a>(&'a [Segment]);

impl Segments<'_> {
    fn sum(&self, pick: impl Fn(&Reading) -> Option<u64>) -> Option<Figure<u64>> {
        self.fold(pick, u64::saturating_add)
    }

    fn max(&self, pick: impl Fn(&Reading) -> Option<u64>) -> Option<Figure<u64>> {
        self.fold(pick, u64::max)
    }

    fn fold(&self, pick: impl Fn(&Reading) -> Option<u64>, join: impl Fn(u64, u64) -> u64) -> Option<Figure<u64>> {
        let figures = self.0.iter().filter_map(|segment| Some(Figure::new(pick(&segment.reading)?, segment.method)));
        figures.reduce(|a, b| Figure::new(join(a.value, b.value), a.method.max(b.method)))
    }
}
