//! Whether the totals of a record are the whole truth.

use jobmeter_protocol::{Gap, Outcome, PodEvidence, Quality, Reason, Stage, Times, Usage};

use super::{Closing, RecordInput};

/// Certain, and yet nothing that anybody measured.
const NEVER_RAN: &str = "no container of it ever started: there was nothing to measure";

/// The figures may be whole all the same.
const LOST: &str = "nobody saw when it ended, nor how";

pub(super) fn of_record(input: &RecordInput<'_>, outcome: &Outcome, time: &Times, usage: &Usage) -> Quality {
    let gaps = input.evidence.map(|evidence| evidence.gaps.clone()).unwrap_or_default();
    match input.closing {
        Closing::Open => Quality::Provisional,
        Closing::GivenUp(why) => Quality::Partial { reason: why.clone(), gaps },
        Closing::Closed if outcome.reason == Reason::NeverRan => Quality::Partial { reason: NEVER_RAN.to_owned(), gaps },
        Closing::Closed if outcome.reason == Reason::Lost && time.finished.is_none() => {
            Quality::Partial { reason: LOST.to_owned(), gaps }
        }
        Closing::Closed => match input.evidence.and_then(|evidence| harm(evidence, usage)) {
            Some(reason) => Quality::Partial { reason, gaps },
            None => Quality::Complete { notes: gaps },
        },
    }
}

/// The first thing that keeps the totals from being whole.
fn harm(evidence: &PodEvidence, usage: &Usage) -> Option<String> {
    let lost = evidence.gaps.iter().find_map(|gap| match gap {
        Gap::PodMissed { last_reading: Some(at) } => Some(format!("the pod's cgroup went unwatched; figures are of {at}")),
        Gap::PodMissed { last_reading: None } => Some("the pod's cgroup went before anything of it could be read".to_owned()),
        Gap::Rebooted { .. } => {
            Some("the node rebooted while the pod ran; what it used after the last reading is lost".to_owned())
        }
        Gap::ContainerMissed { .. } | Gap::Malformed { .. } | Gap::Unsupported { .. } => None,
    });
    let missing = || match (usage.cpu_seconds, usage.memory_peak_bytes.or(usage.rss_peak_bytes)) {
        (Some(_), Some(_)) => None,
        (None, _) => Some("no CPU figure could be read".to_owned()),
        (_, None) => Some("no memory figure could be read".to_owned()),
    };
    let open = || (evidence.stage < Stage::Final).then(|| "the node never sent its last reading".to_owned());
    lost.or_else(missing).or_else(open)
}
