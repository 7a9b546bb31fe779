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
    let usage = over.sum(|r| Some(r.cpu?.usage_ns));
    let (user, system) = split(usage, over.sum(|r| r.cpu?.user_ns), over.sum(|r| r.cpu?.system_ns));
    // A pod's own counters know only of its own quota: a container is throttled by its limit at its own level.
    let of_containers = |pick: fn(CpuCounters) -> Option<u64>| {
        let sum = evidence
            .containers
            .iter()
            .filter_map(|c| pick(c.reading.as_ref()?.cpu?))
            .fold(None, |sum, n| Some(sum.unwrap_or(0) + n));
        sum.map(|sum| Figure::new(sum, Method::Derived))
    };
    let throttled_ns = larger(over.sum(|r| r.cpu?.throttled_ns), of_containers(|c| c.throttled_ns));
    let throttled_periods = larger(over.sum(|r| r.cpu?.throttled_periods), of_containers(|c| c.throttled_periods));
    Usage {
        cpu_seconds: usage.map(|f| f.map(seconds)),
        cpu_user_seconds: user.map(|f| f.map(seconds)),
        cpu_system_seconds: system.map(|f| f.map(seconds)),
        throttled_seconds: throttled_ns.map(|f| f.map(seconds)),
        throttled_periods,
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
    let usage = count(cpu.map(|c| c.usage_ns));
    let (user, system) = split(usage, count(cpu.and_then(|c| c.user_ns)), count(cpu.and_then(|c| c.system_ns)));
    let pressure = reading.and_then(|r| r.pressure);
    let stalled = |us: Option<u64>| us.map(|us| Figure::new(microseconds(us), method));
    Usage {
        cpu_seconds: usage.map(|f| f.map(seconds)),
        cpu_user_seconds: user.map(|f| f.map(seconds)),
        cpu_system_seconds: system.map(|f| f.map(seconds)),
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
    let containers = evidence
        .containers
        .iter()
        .filter_map(|c| c.reading.as_ref()?.memory?.oom_kills)
        .fold(None, |sum, n| Some(sum.unwrap_or(0) + n));
    larger(Segments(&evidence.segments).sum(|r| r.memory?.oom_kills), containers.map(|sum| Figure::new(sum, Method::Derived)))
}

/// The pod's own figure unless the sum over its containers is more.
fn larger(pod: Option<Figure<u64>>, containers: Option<Figure<u64>>) -> Option<Figure<u64>> {
    match (pod, containers) {
        (Some(pod), Some(containers)) if containers.value > pod.value => Some(containers),
        (pod, containers) => pod.or(containers),
    }
}

/// User and system time as parts of the total. cgroup v1 counts both by the clock tick, so that they miss short runs and do not
/// add up: they are scaled to the exact total, as the kernel itself does for v2 and for processes, and labelled `derived`.
fn split(
    usage: Option<Figure<u64>>,
    user: Option<Figure<u64>>,
    system: Option<Figure<u64>>,
) -> (Option<Figure<u64>>, Option<Figure<u64>>) {
    let (Some(usage), Some(user), Some(system)) = (usage, user, system) else { return (user, system) };
    let ticked = user.value.saturating_add(system.value);
    // v2 keeps whole microseconds, and its total is not read at the same instant.
    if ticked.abs_diff(usage.value) <= usage.value / 1000 + 2_000 {
        return (Some(user), Some(system));
    }
    if ticked == 0 {
        return (None, None);
    }
    let share = u128::from(usage.value) * u128::from(user.value) / u128::from(ticked);
    let user_ns = u64::try_from(share).unwrap_or(usage.value).min(usage.value);
    let method = usage.method.max(Method::Derived);
    (Some(Figure::new(user_ns, method)), Some(Figure::new(usage.value - user_ns, method)))
}

/// A lower bound, from whichever witness saw more. Without a single sample the only witness is `wait4`.
fn rss_peak(sampled: &Sampled) -> Option<Figure<u64>> {
    // A sample that came before the first page, or after the last, has seen nothing.
    let bytes = sampled.anon_shmem_peak_bytes.max(sampled.process_hwm_bytes).filter(|bytes| *bytes > 0)?;
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
