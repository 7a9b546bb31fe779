//! The order of giving up, and what must hold whatever is in the spool.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::example::at;

const MIB: u64 = 1024 * 1024;

/// `(name, MiB, captured)`; the kubelet has none of them any more.
fn run(job: bool, sealed: Option<f64>, pieces: &[(&'static str, u64, f64)]) -> Run<&'static str> {
    let piece = |&(id, size, captured): &(&'static str, u64, f64)| Piece {
        id,
        bytes: size * MIB,
        captured: at(captured),
        last_holder: true,
    };
    Run { job, sealed: sealed.map(at), pieces: pieces.iter().map(piece).collect() }
}

fn spool() -> Vec<Run<&'static str>> {
    vec![
        run(true, Some(10.0), &[("early", 5, 1.0)]),
        run(true, Some(20.0), &[("late-first", 5, 2.0), ("late-middle", 5, 3.0), ("late-end", 5, 4.0)]),
        run(true, None, &[("small-first", 1, 5.0), ("small-middle", 1, 9.0), ("small-end", 1, 10.0)]),
        run(true, None, &[("large-first", 5, 6.0), ("large-middle", 5, 7.0), ("large-middle-2", 5, 8.0), ("large-end", 5, 11.0)]),
        run(false, Some(30.0), &[("service-sealed", 5, 12.5)]),
        run(false, None, &[("service-first", 5, 12.0), ("service-end", 5, 13.0)]),
    ]
}

fn given_up(runs: &[Run<&'static str>], keep_mib: u64) -> Vec<&'static str> {
    let limits = Limits { spool_bytes: keep_mib * MIB, free_floor: 0 };
    relieve(runs, &limits, u64::MAX).give_up.into_iter().map(|piece| piece.id).collect()
}

#[test]
fn what_is_given_up_first() {
    let expected = [
        "service-first",
        "service-sealed",
        "service-end",
        "large-middle",
        "large-middle-2",
        "small-middle",
        "large-first",
        "large-end",
        "small-first",
        "small-end",
        "late-middle",
        "late-first",
        "late-end",
        "early",
    ];
    assert_eq!(given_up(&spool(), 0), expected);
    assert_eq!(used(&spool()), 58 * MIB);
    assert_eq!(given_up(&spool(), 58), [""; 0]);
    assert_eq!(given_up(&spool(), 57), expected[..1]);
    assert_eq!(given_up(&spool(), 53), expected[..1], "and no more than must be");
    assert_eq!(given_up(&spool(), 52), expected[..2]);
}

#[test]
fn what_the_kubelet_still_has_is_not_given_up_and_does_not_count() {
    let mut runs = spool();
    for piece in runs.iter_mut().flat_map(|run| &mut run.pieces) {
        piece.last_holder = piece.id == "early";
    }
    assert_eq!(used(&runs), 5 * MIB);
    assert_eq!(given_up(&runs, 5), [""; 0]);
    let relief = relieve(&runs, &Limits { spool_bytes: 100 * MIB, free_floor: 20 * MIB }, 8 * MIB);
    assert_eq!(relief.give_up.len(), 1);
    assert_eq!(relief.short, 7 * MIB, "12 MiB are missing, and 5 is all there is");
}

#[test]
fn the_reason_is_a_sentence_with_its_numbers() {
    let why = |limits, free| relieve(&spool(), &limits, free).give_up[0].why.clone();
    assert_eq!(
        why(Limits { spool_bytes: 57 * MIB, free_floor: 0 }, u64::MAX),
        "5.0 MiB were given up: the spool held 58.0 MiB and may hold 57.0 MiB, and nobody had called its pod a job"
    );
    assert_eq!(
        why(Limits { spool_bytes: 1024 * MIB, free_floor: 2048 * MIB }, 900),
        "5.0 MiB were given up: the node's disk had 900 bytes left and 2.0 GiB of it stay free, and nobody had called its pod a job"
    );
}

fn any_run() -> impl Strategy<Value = Run<usize>> {
    let piece = (0..9 * MIB, 0..1000_u32, any::<bool>());
    (any::<bool>(), proptest::option::of(0..1000_u32), vec(piece, 0..6)).prop_map(|(job, sealed, pieces)| Run {
        job,
        sealed: sealed.map(|seconds| at(f64::from(seconds))),
        pieces: pieces
            .into_iter()
            .map(|(bytes, seconds, last_holder)| Piece { id: 0, bytes, captured: at(f64::from(seconds)), last_holder })
            .collect(),
    })
}

proptest! {
    #[test]
    fn relief_is_enough_and_what_was_promised_goes_last(
        mut runs in vec(any_run(), 0..12),
        spool_bytes in 0..100 * MIB,
        free_floor in 0..100 * MIB,
        free in 0..200 * MIB,
    ) {
        for (id, piece) in runs.iter_mut().flat_map(|run| &mut run.pieces).enumerate() {
            piece.id = id;
        }
        let limits = Limits { spool_bytes, free_floor };
        let relief = relieve(&runs, &limits, free);
        let gone = |id: usize| relief.give_up.iter().any(|piece| piece.id == id);
        let freed: u64 = relief.give_up.iter().map(|piece| piece.bytes).sum();
        let mut after = runs.clone();
        after.iter_mut().for_each(|run| run.pieces.retain(|piece| !gone(piece.id)));

        // Never over the limit afterwards, unless nothing is left to give up; then it says by how much.
        let still_over = used(&after).saturating_sub(spool_bytes).max(free_floor.saturating_sub(free + freed));
        prop_assert_eq!(still_over, relief.short);
        prop_assert!(still_over == 0 || used(&after) == 0);
        prop_assert_eq!(freed, used(&runs) - used(&after), "only what frees something");

        // Without the last of them it would not have been enough.
        if let Some(last) = relief.give_up.last() {
            let without = freed - last.bytes;
            prop_assert!(used(&runs) - without > spool_bytes || free + without < free_floor);
        }

        // A piece of a sealed log goes only when no log that is still written, and no pod that is no job, has anything to give.
        let given_up = |wanted: fn(&Run<usize>) -> bool| runs.iter().filter(move |run| wanted(run)).flat_map(|run| &run.pieces);
        if given_up(|run| run.job && run.sealed.is_some()).any(|piece| gone(piece.id)) {
            for piece in given_up(|run| !run.job || run.sealed.is_none()) {
                prop_assert!(gone(piece.id) || !piece.last_holder || piece.bytes == 0);
            }
        }
        // Of two sealed logs, the one that was sealed earlier is whole while the other has anything left.
        for early in runs.iter().filter(|run| run.job && run.sealed.is_some()) {
            for late in runs.iter().filter(|run| run.job && run.sealed > early.sealed) {
                let touched = early.pieces.iter().any(|piece| gone(piece.id));
                prop_assert!(!touched || late.pieces.iter().all(|piece| gone(piece.id) || !piece.last_holder || piece.bytes == 0));
            }
        }
    }
}
