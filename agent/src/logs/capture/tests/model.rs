//! Whatever the order of writing, rotating, compressing, pruning and restarts: the pieces, one after the other, are what was
//! written. Only what came and went while no agent looked may be missing, and here nothing does.

use proptest::prelude::*;

use super::*;
use crate::logs::capture::sealing::MAY_LACK;

#[derive(Clone, Copy, Debug)]
enum Op {
    Write(usize),
    Rotate,
    /// The oldest that is not.
    Compress,
    /// The oldest rotation, if an agent has seen it or what it was made of.
    Prune,
    Turn,
    /// The queue of inotify has overflowed.
    Overflow,
    Kill,
    Start,
}

#[derive(Debug)]
struct Rotation {
    path: PathBuf,
    seen: bool,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1_usize..5).prop_map(Op::Write),
        3 => Just(Op::Rotate),
        2 => Just(Op::Compress),
        2 => Just(Op::Prune),
        4 => Just(Op::Turn),
        1 => Just(Op::Overflow),
        1 => Just(Op::Kill),
        2 => Just(Op::Start),
    ]
}

fn run(ops: &[Op]) {
    let node = Node::new();
    let (mut agent, mut rotations, mut seen_now) = (None::<Life>, Vec::<Rotation>::new(), false);
    let (mut written, mut lines, mut second) = (String::new(), 0, 0);
    let mut file = append(&node.log());
    for op in ops {
        match op {
            Op::Write(count) => {
                for _ in 0..*count {
                    file.write_all(line(lines).as_bytes()).unwrap();
                    written += &line(lines);
                    lines += 1;
                }
            }
            // The kubelet rotates what is large only.
            Op::Rotate if file.metadata().unwrap().len() > 0 => {
                rotations.push(Rotation { path: rotated(&node.log(), second), seen: seen_now });
                second += 1;
                (file, seen_now) = (append(&node.log()), false);
            }
            Op::Compress => {
                let plain = rotations.iter_mut().find(|rotation| rotation.path.extension().is_none_or(|ext| ext != "gz"));
                if let Some(plain) = plain {
                    plain.path = compress(&plain.path);
                }
            }
            Op::Prune if rotations.first().is_some_and(|oldest| oldest.seen) => {
                fs::remove_file(rotations.remove(0).path).unwrap();
            }
            Op::Turn | Op::Overflow => {
                let Some(agent) = &mut agent else { continue };
                agent.thread.overflowed |= matches!(op, Op::Overflow);
                agent.turn();
                assert!(agent.sealed.try_recv().is_err(), "the container runs");
                rotations.iter_mut().for_each(|rotation| rotation.seen = true);
                seen_now = true;
            }
            Op::Kill => agent = None,
            Op::Start if agent.is_none() => {
                agent = Some(node.agent());
                rotations.iter_mut().for_each(|rotation| rotation.seen = true);
                seen_now = true;
            }
            Op::Rotate | Op::Prune | Op::Start => {}
        }
    }
    drop(file);
    node.say(true, true);
    let mut agent = agent.unwrap_or_else(|| node.agent());
    let sealed = agent.sealed.try_recv().ok().or_else(|| agent.sealed()).expect("sealed");
    assert_eq!(content(&sealed), written);
    let said = |missing: &jobmeter_protocol::Missing| missing.why == MAY_LACK;
    assert!(sealed.missing.iter().all(said), "{:?}", sealed.missing);
    agent.stored(&sealed);
    assert_eq!(node.pieces(), Vec::<PathBuf>::new());
    // And once more, by an agent that knows only what is on the disk.
    let mut agent = node.agent();
    assert_eq!(agent.sealed(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_pieces_are_what_was_written_whatever_happens_in_between(ops in prop::collection::vec(op(), 0..40)) {
        run(&ops);
    }
}
