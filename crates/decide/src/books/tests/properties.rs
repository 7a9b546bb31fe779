//! Any order, any repetition, a restart at any moment: the same books.

use jobmeter_protocol::Gap;
use proptest::prelude::*;

use super::*;

/// All that is ever observed of one pod with two containers and a sandbox.
fn observations() -> Vec<Observation> {
    let sample = |at, count, anon| {
        Observation::Sampled(Box::new(Sample {
            at: ms(at),
            count,
            cpu_ns: Some(count),
            memory_bytes: Some(9),
            anon_shmem_bytes: Some(anon),
            containers: vec![("bb".into(), anon / 2)],
            processes: None,
            reading: Some(reading(at, 10 + count, 1_000)),
        }))
    };
    let mut pod = example::api_pod();
    pod.containers.push(example::api_container("second", "bb", 0));
    for container in &mut pod.containers {
        // The API counts in whole seconds, and only an end that lies more than one before a reading is certain.
        (container.started, container.finished) = (Some(ms(-1_000)), Some(ms(-1_000)));
    }
    vec![
        appeared(),
        container_appeared("5a", 0, 11),
        container_appeared("aa", 1, 20),
        sample(30, 1, 500),
        container_ended("aa", 80, Some(42), 60),
        container_appeared("bb", 2, 90),
        sample(95, 2, 300),
        container_ended("bb", 120, None, 99),
        container_ended("5a", 140, Some(3), 103),
        Observation::Read(reading(141, 104, 4_000)),
        Observation::Malformed { path: "/x".into(), why: "y".into() },
        Observation::Api(Box::new(pod)),
        gone(150, 105),
    ]
}

fn in_order() -> PodEvidence {
    let mut books = books();
    feed(&mut books, observations());
    evidence(&books)
}

/// The pod as a machine would show it at a moment: what a rescan finds.
fn rescan(at: i64) -> Vec<Observation> {
    let alive: Vec<_> = [("5a", 0, 11, 140), ("aa", 1, 20, 80), ("bb", 2, 90, 120)]
        .into_iter()
        .filter(|(_, _, from, to)| (*from..*to).contains(&at))
        .collect();
    if at >= 150 {
        return vec![Observation::NotThere];
    }
    let cpu = [(0, 5), (30, 11), (80, 60), (95, 61), (120, 99), (140, 103), (141, 104)];
    let now = cpu.iter().rev().find(|(from, _)| *from <= at).map_or(0, |(_, cpu)| *cpu);
    let mut seen = vec![appeared()];
    seen.extend(alive.iter().map(|(id, order, from, _)| container_appeared(id, *order, *from)));
    seen.push(Observation::Looked {
        segment: segment("boot", 7),
        tree: Tree::Kubelet,
        pod: Some(reading(at, now, 1_000)),
        containers: alive.iter().map(|(id, ..)| ((*id).to_owned(), None)).collect(),
        at: ms(at),
    });
    seen
}

const MOMENTS: [i64; 13] = [10, 11, 20, 30, 80, 90, 95, 120, 140, 141, 142, 143, 150];

proptest! {
    #[test]
    fn any_order_and_any_repetition_end_in_the_same_evidence(
        order in Just((0..observations().len()).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(0..observations().len(), 0..20),
    ) {
        let mut books = books();
        // Nobody samples a pod that was not heard of.
        let first = observations().len() - 2;
        for n in [first].iter().chain(&order).chain(&again) {
            let steps = books.observe(UID, observations()[*n].clone(), ms(0));
            prop_assert!(!steps.is_empty());
        }
        prop_assert_eq!(evidence(&books), in_order());
    }

    #[test]
    fn a_restart_loses_nothing_that_was_journaled_or_that_the_kernel_still_has(
        stop in 0..observations().len(),
        pause in 0_usize..6,
    ) {
        let mut before = books();
        let mut journal = None;
        for observation in &observations()[..stop] {
            let steps = before.observe(UID, observation.clone(), ms(0));
            if steps.contains(&Step::Journal(UID.into())) {
                journal = before.evidence(UID).map(|outgoing| outgoing.evidence);
            }
        }
        let resume = (stop + pause).min(observations().len());
        let mut after = Books::new(options(), ms(1_000));
        if let Some(evidence) = journal {
            after.restore(evidence, ms(1_000));
        }
        let back_at = if resume == 0 { 0 } else { MOMENTS[resume - 1] };
        let found = if resume == 0 { Vec::new() } else { rescan(back_at) };
        let pod_was_there = resume < observations().len();
        let api = observations()[11].clone();
        for observation in found.into_iter().chain([api]).chain(observations()[resume..].iter().cloned()) {
            after.observe(UID, observation, ms(1_000));
        }
        let whole = in_order();
        if pod_was_there {
            let evidence = evidence(&after);
            prop_assert_eq!(&evidence.segments, &whole.segments);
            prop_assert_eq!(evidence.stage, Stage::Final);
            let missed = evidence.gaps.iter().any(|gap| matches!(gap, Gap::PodMissed { .. }));
            prop_assert!(!missed);
            let ids: Vec<_> = evidence.containers.iter().map(|container| container.container_id.as_str()).collect();
            prop_assert_eq!(ids, ["aa", "bb"]);
            // `aa` was read at 80: whoever saw it, wrote it down.
            if stop > 4 || resume <= 4 {
                prop_assert_eq!(&evidence.containers[0].reading, &whole.containers[0].reading);
            }
        } else if let Some(outgoing) = after.evidence(UID) {
            prop_assert_eq!(outgoing.evidence.stage, Stage::Final, "nothing more can come");
        }
    }
}
