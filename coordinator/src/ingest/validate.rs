//! What a report must look like before it may touch the books. Pure; every refusal says which field, and why.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::evidence::{MAX_CONTAINERS, MAX_GAPS, MAX_PROCESSES};
use jobmeter_protocol::{ContainerEvidence, PodEvidence, ProcessEvidence, Reading, Segment};

/// Each restart of a container is one. A join keeps fewer; what an agent has not joined yet may be more.
const MAX_REPORTED_CONTAINERS: usize = 4 * MAX_CONTAINERS;
/// Each reboot of a node under a pod is one.
const MAX_SEGMENTS: usize = 64;
const MAX_TEXT: usize = 4_096;
/// A node's clock may be wrong; one that is a day ahead would make records that are never over.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// 2001-09-09: no node of today was up before.
const EARLIEST_SECOND: i64 = 1_000_000_000;
/// 2⁶⁰ ns of CPU are 36 years; 2⁶⁰ bytes are an exbibyte.
const MAX_COUNT: u64 = 1 << 60;

pub(super) fn report(report: &PodEvidence, node: &str, now: Timestamp) -> Result<(), String> {
    check(valid_uid(&report.pod_uid), || format!("pod_uid {:?} is no UID", short(&report.pod_uid)))?;
    check(report.node == node, || format!("the report is of node {:?}, its batch of {node:?}", short(&report.node)))?;
    for (field, name) in [("namespace", &report.namespace), ("pod", &report.pod)] {
        let name = name.as_deref();
        check(name.is_none_or(valid_name), || format!("{field} {:?} is no name", short(name.unwrap_or_default())))?;
    }
    let counts = [
        ("segments", report.segments.len(), MAX_SEGMENTS),
        ("containers", report.containers.len(), MAX_REPORTED_CONTAINERS),
        ("processes", report.processes.len(), MAX_PROCESSES),
        ("gaps", report.gaps.len(), MAX_GAPS),
    ];
    for (field, count, most) in counts {
        check(count <= most, || format!("{count} {field}; {most} are the most"))?;
    }
    report.segments.iter().try_for_each(|item| segment(item, now))?;
    report.containers.iter().try_for_each(|item| container(item, now))?;
    report.processes.iter().try_for_each(|item| process(item, now))?;
    // A gap holds paths and reasons of any kind: only their size matters.
    let gaps = serde_json::to_string(&report.gaps).map_or(usize::MAX, |text| text.len());
    check(gaps <= MAX_GAPS * MAX_TEXT, || format!("gaps of {gaps} bytes"))
}

/// As Kubernetes writes them; static pods have 32 hexadecimal digits.
pub fn valid_uid(uid: &str) -> bool {
    (1..=64).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A DNS subdomain, as all names of Kubernetes that matter here are.
pub fn valid_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(inner)
}

fn segment(segment: &Segment, now: Timestamp) -> Result<(), String> {
    identifier("boot_id", &segment.id.boot_id)?;
    moment("first_seen", segment.first_seen, now)?;
    reading(&segment.reading, now)
}

fn container(container: &ContainerEvidence, now: Timestamp) -> Result<(), String> {
    identifier("container_id", &container.container_id)?;
    identifier("boot_id", &container.segment.boot_id)?;
    let name = container.name.as_deref();
    check(name.is_none_or(valid_name), || format!("container name {:?} is no name", short(name.unwrap_or_default())))?;
    for (field, at) in [("started", container.started), ("ended", container.ended)] {
        at.map_or(Ok(()), |at| moment(field, at, now))?;
    }
    container.reading.as_ref().map_or(Ok(()), |item| reading(item, now))?;
    let sampled = &container.sampled;
    counts([sampled.anon_shmem_peak_bytes, sampled.process_hwm_bytes, sampled.usage_peak_bytes])
}

fn process(process: &ProcessEvidence, now: Timestamp) -> Result<(), String> {
    check(process.command.len() <= MAX_TEXT, || format!("a command of {} bytes", process.command.len()))?;
    moment("last_seen", process.last_seen, now)?;
    process.started.map_or(Ok(()), |at| moment("started", at, now))?;
    counts([Some(process.cpu_ns), process.hwm_bytes])
}

fn reading(reading: &Reading, now: Timestamp) -> Result<(), String> {
    moment("at", reading.at, now)?;
    if let Some(cpu) = &reading.cpu {
        counts([Some(cpu.usage_ns), cpu.user_ns, cpu.system_ns, cpu.throttled_ns, cpu.throttled_periods, cpu.periods])?;
    }
    if let Some(memory) = &reading.memory {
        counts([memory.peak_bytes, memory.swap_peak_bytes, memory.oom_kills])?;
    }
    if let Some(io) = &reading.io {
        counts([Some(io.read_bytes), Some(io.written_bytes)])?;
    }
    if let Some(pressure) = &reading.pressure {
        counts([pressure.cpu_some_us, pressure.memory_some_us, pressure.io_some_us])?;
    }
    counts([reading.pids_peak])
}

fn counts<const N: usize>(counts: [Option<u64>; N]) -> Result<(), String> {
    let absurd = counts.into_iter().flatten().find(|count| *count > MAX_COUNT);
    absurd.map_or(Ok(()), |count| Err(format!("a counter says {count}, which no machine can reach")))
}

fn moment(field: &str, at: Timestamp, now: Timestamp) -> Result<(), String> {
    check(at.as_second() >= EARLIEST_SECOND, || format!("{field} {at} is before any node was up"))?;
    check(at.duration_since(now) <= MAX_AHEAD, || format!("{field} {at} is more than a day ahead of the coordinator's clock"))
}

/// Container and boot IDs: whatever the runtime chose, but printable and short.
fn identifier(field: &str, id: &str) -> Result<(), String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    let holds = (1..=253).contains(&id.len()) && id.bytes().all(inner);
    check(holds, || format!("{field} {:?} is no identifier", short(id)))
}

fn check(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use jobmeter_decide::example;
    use jobmeter_decide::record::{self, Closing, KeptMetadata, RecordInput};
    use proptest::prelude::*;

    use super::*;

    fn refused(change: impl FnOnce(&mut PodEvidence)) -> String {
        let mut evidence = example::evidence();
        change(&mut evidence);
        report(&evidence, "node-a", example::at(60.0)).unwrap_err()
    }

    #[test]
    fn a_good_report_passes() {
        assert_eq!(report(&example::evidence(), "node-a", example::at(60.0)), Ok(()));
    }

    #[test]
    fn each_refusal_names_the_field() {
        for (found, expected) in [
            (refused(|e| e.pod_uid = "../../etc".into()), "pod_uid \"../../etc\" is no UID"),
            (refused(|e| e.node = "node-b".into()), "the report is of node \"node-b\", its batch of \"node-a\""),
            (refused(|e| e.namespace = Some("A b".into())), "namespace \"A b\" is no name"),
            (refused(|e| e.segments[0].reading.at = example::at(90_000.0)), "at 2026-"),
            (refused(|e| e.segments[0].first_seen = Timestamp::UNIX_EPOCH), "first_seen 1970-01-01T00:00:00Z is before"),
            (refused(|e| e.containers[0].container_id = "\n".into()), "container_id \"\\n\" is no identifier"),
            (refused(|e| e.segments[0].reading.cpu.as_mut().unwrap().usage_ns = u64::MAX), "a counter says 18446744073709551615"),
            (refused(|e| e.segments = vec![e.segments[0].clone(); 65]), "65 segments; 64 are the most"),
        ] {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    /// What `report` lets through must do no harm further on.
    fn assembled(evidence: &PodEvidence) -> f64 {
        let mut joined = evidence.clone();
        jobmeter_decide::join::join(&mut joined, evidence);
        let record = record::assemble(&RecordInput {
            cluster: "",
            api: None,
            api_gone: true,
            owners: &[],
            evidence: Some(&joined),
            recorded: example::at(60.0),
            closing: &Closing::Closed,
            kept: &KeptMetadata::default(),
        });
        record.usage.cpu_seconds.map_or(0.0, |figure| figure.value)
    }

    #[test]
    fn the_largest_counters_that_pass_can_be_added_up() {
        let mut evidence = example::evidence();
        let mut segment = evidence.segments.remove(0);
        segment.reading = example::reading(1.0, MAX_COUNT, MAX_COUNT);
        evidence.segments = (0..MAX_SEGMENTS as u64)
            .map(|inode| {
                let mut segment = segment.clone();
                segment.id.cgroup_inode = inode;
                segment
            })
            .collect();
        assert_eq!(report(&evidence, "node-a", example::at(60.0)), Ok(()));
        assert!(assembled(&evidence) > 1e9);
    }

    proptest! {
        #[test]
        fn no_report_makes_the_coordinator_panic(
            at in 0..2_000_usize, cut in 0..40_usize,
            with in "[0-9]{1,20}|\"[a-z]{0,6}\"|null|[\\[\\]{},:\"]|-|\\PC",
        ) {
            let mut text = serde_json::to_string(&example::evidence()).unwrap();
            let at = at % text.len();
            let end = (at + cut).min(text.len());
            text.replace_range(at..end, &with);
            if let Ok(evidence) = serde_json::from_str::<PodEvidence>(&text)
                && report(&evidence, "node-a", example::at(60.0)).is_ok()
            {
                prop_assert!(assembled(&evidence).is_finite());
            }
        }
    }
}
