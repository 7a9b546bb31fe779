//! Joins two pieces of evidence about the same pod: commutative, associative, idempotent.
//!
//! Counters and watermarks only grow, so the greater of two is the later; lists are sets with a key. Reports can therefore
//! be lost, repeated or reordered, and agent and coordinator can both join without asking each other.

use std::collections::BTreeMap;

use jobmeter_protocol::evidence::{MAX_CONTAINERS, MAX_GAPS, MAX_PROCESSES};
use jobmeter_protocol::{
    ContainerEvidence, CpuCounters, Gap, IoCounters, MemoryCounters, PodEvidence, PressureCounters, ProcessEvidence, Reading,
    Sampled, Segment,
};

/// Joins `from` into `into`; true when `into` learned something. Evidence about another pod teaches nothing.
///
/// The result is in normal form: every list sorted by its key, bounded lists cut to their bound.
pub fn join(into: &mut PodEvidence, from: &PodEvidence) -> bool {
    if into.pod_uid != from.pod_uid {
        return false;
    }
    let before = into.clone();
    greatest(&mut into.node, &from.node);
    greatest(&mut into.namespace, &from.namespace);
    greatest(&mut into.pod, &from.pod);
    greatest(&mut into.stage, &from.stage);
    join_set(&mut into.segments, &from.segments, |s| s.id.clone(), join_segment);
    join_set(&mut into.containers, &from.containers, |c| c.container_id.clone(), join_container);
    keep_newest(&mut into.containers);
    join_set(&mut into.processes, &from.processes, |p| (p.pid, p.start_ticks), join_process);
    keep_most_expensive(&mut into.processes);
    join_sampled(&mut into.sampled, &from.sampled);
    join_set(&mut into.gaps, &from.gaps, Gap::clone, |_, _| {});
    into.gaps.truncate(MAX_GAPS);
    *into != before
}

/// Joins what two readings of one cgroup said. Useful wherever readings of the same segment meet.
pub fn join_reading(into: &mut Reading, from: &Reading) {
    greatest(&mut into.at, &from.at);
    join_option(&mut into.cpu, &from.cpu, join_cpu);
    join_option(&mut into.memory, &from.memory, join_memory);
    greatest(&mut into.pids_peak, &from.pids_peak);
    join_option(&mut into.io, &from.io, join_io);
    join_option(&mut into.pressure, &from.pressure, join_pressure);
}

pub fn join_sampled(into: &mut Sampled, from: &Sampled) {
    greatest(&mut into.samples, &from.samples);
    greatest(&mut into.anon_shmem_peak_bytes, &from.anon_shmem_peak_bytes);
    greatest(&mut into.process_hwm_bytes, &from.process_hwm_bytes);
    greatest(&mut into.usage_peak_bytes, &from.usage_peak_bytes);
}

fn join_segment(into: &mut Segment, from: &Segment) {
    // The weaker label: a value that may stem from either must not claim the better one.
    greatest(&mut into.method, &from.method);
    into.first_seen = into.first_seen.min(from.first_seen);
    join_reading(&mut into.reading, &from.reading);
}

fn join_container(into: &mut ContainerEvidence, from: &ContainerEvidence) {
    greatest(&mut into.name, &from.name);
    greatest(&mut into.kind, &from.kind);
    greatest(&mut into.attempt, &from.attempt);
    greatest(&mut into.segment, &from.segment);
    greatest(&mut into.method, &from.method);
    earliest(&mut into.started, &from.started);
    // The first witness of an exit is the closest to it.
    earliest(&mut into.ended, &from.ended);
    greatest(&mut into.exit, &from.exit);
    join_option(&mut into.reading, &from.reading, join_reading);
    join_sampled(&mut into.sampled, &from.sampled);
}

/// The later look at a process wins as a whole: its counters only grew. Joined field by field, what [`keep_most_expensive`]
/// cut away would make a difference.
fn join_process(into: &mut ProcessEvidence, from: &ProcessEvidence) {
    let progress =
        |p: &ProcessEvidence| (p.cpu_ns, p.last_seen, p.hwm_bytes, p.exit, p.started, p.container_id.clone(), p.command.clone());
    if progress(from) > progress(into) {
        into.clone_from(from);
    }
}

fn join_cpu(into: &mut CpuCounters, from: &CpuCounters) {
    greatest(&mut into.usage_ns, &from.usage_ns);
    greatest(&mut into.user_ns, &from.user_ns);
    greatest(&mut into.system_ns, &from.system_ns);
    greatest(&mut into.throttled_ns, &from.throttled_ns);
    greatest(&mut into.throttled_periods, &from.throttled_periods);
    greatest(&mut into.periods, &from.periods);
}

fn join_memory(into: &mut MemoryCounters, from: &MemoryCounters) {
    greatest(&mut into.peak_bytes, &from.peak_bytes);
    greatest(&mut into.swap_peak_bytes, &from.swap_peak_bytes);
    greatest(&mut into.oom_kills, &from.oom_kills);
}

fn join_io(into: &mut IoCounters, from: &IoCounters) {
    greatest(&mut into.read_bytes, &from.read_bytes);
    greatest(&mut into.written_bytes, &from.written_bytes);
}

fn join_pressure(into: &mut PressureCounters, from: &PressureCounters) {
    greatest(&mut into.cpu_some_us, &from.cpu_some_us);
    greatest(&mut into.memory_some_us, &from.memory_some_us);
    greatest(&mut into.io_some_us, &from.io_some_us);
}

/// A container that is restarted for ever must not make its evidence grow for ever. One whose start nobody saw is the oldest.
///
/// Cutting commutes with joining because the order is total and a run has one start: its agent notes it before anything
/// else of the run, so that every piece about it has the same. That a run was cut is not told as a gap: the gap's own list
/// is bounded, and which of them it keeps would depend on the order of arrival.
fn keep_newest(containers: &mut Vec<ContainerEvidence>) {
    if containers.len() > MAX_CONTAINERS {
        containers.sort_by(|a, b| (b.started, &b.container_id).cmp(&(a.started, &a.container_id)));
        containers.truncate(MAX_CONTAINERS);
        containers.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    }
}

/// Cutting commutes with joining because the order is total: whatever is cut away has enough greater ones on its own side.
fn keep_most_expensive(processes: &mut Vec<ProcessEvidence>) {
    if processes.len() > MAX_PROCESSES {
        processes.sort_by(|a, b| b.cpu_ns.cmp(&a.cpu_ns).then((a.pid, a.start_ticks).cmp(&(b.pid, b.start_ticks))));
        processes.truncate(MAX_PROCESSES);
        processes.sort_by_key(|p| (p.pid, p.start_ticks));
    }
}

fn join_set<T: Clone, K: Ord>(into: &mut Vec<T>, from: &[T], key: impl Fn(&T) -> K, join: impl Fn(&mut T, &T)) {
    let mut by_key: BTreeMap<K, T> = BTreeMap::new();
    for item in into.drain(..).chain(from.iter().cloned()) {
        match by_key.entry(key(&item)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(item);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => join(entry.get_mut(), &item),
        }
    }
    into.extend(by_key.into_values());
}

fn join_option<T: Clone>(into: &mut Option<T>, from: &Option<T>, join: impl Fn(&mut T, &T)) {
    match (into.as_mut(), from) {
        (Some(into), Some(from)) => join(into, from),
        (None, Some(from)) => *into = Some(from.clone()),
        (_, None) => {}
    }
}

/// `None` is the least of an option, so an absent value never hides a present one.
fn greatest<T: Ord + Clone>(into: &mut T, from: &T) {
    if *from > *into {
        into.clone_from(from);
    }
}

fn earliest<T: Ord + Clone>(into: &mut Option<T>, from: &Option<T>) {
    if let Some(from) = from
        && into.as_ref().is_none_or(|into| from < into)
    {
        *into = Some(from.clone());
    }
}

#[cfg(test)]
mod tests;
