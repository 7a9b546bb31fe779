//! A log from its first line to its end, and kills in between.

use super::*;
use crate::logs::capture::{run::NEW, saved::DONE};

#[test]
fn a_log_is_kept_after_the_kubelet_has_removed_it_and_goes_when_it_is_stored() {
    let node = Node::new();
    let mut agent = node.agent();
    fs::write(node.log(), line(1)).unwrap();
    agent.turn();
    fs::remove_dir_all(node.container().parent().unwrap()).unwrap();
    let sealed = agent.sealed().expect("sealed without a word of the books");
    assert_eq!(content(&sealed), line(1));
    assert_eq!(sealed.job, Some(true));
    agent.stored(&sealed);
    agent.turn();
    assert_eq!(node.spooled(), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(&node.options.spool).unwrap().count(), 0, "no empty directories are left");
}

#[test]
fn nothing_is_sealed_while_somebody_writes_or_the_container_runs() {
    let node = Node::new();
    let mut agent = node.agent();
    let mut file = append(&node.log());
    file.write_all(line(1).as_bytes()).unwrap();
    assert_eq!(agent.sealed(), None);
    node.say(true, true);
    assert_eq!(agent.sealed(), None, "the runtime has not written all");
    file.write_all(line(2).as_bytes()).unwrap();
    drop(file);
    assert_eq!(content(&agent.sealed().unwrap()), [line(1), line(2)].concat());
    assert_eq!(agent.sealed(), None, "once");
}

#[test]
fn a_run_that_was_followed_by_another_is_sealed_while_the_pod_lives() {
    let node = Node::new();
    fs::write(node.log(), line(1)).unwrap();
    let mut agent = node.agent();
    assert_eq!(agent.sealed(), None);
    let _running = append(&node.container().join("1.log"));
    let sealed = agent.sealed().unwrap();
    assert_eq!((sealed.log.attempt, content(&sealed)), (0, line(1)));
    assert_eq!(agent.sealed(), None);
}

#[test]
fn pods_that_are_no_jobs_leave_nothing_and_are_taken_up_when_they_are_jobs_after_all() {
    let node = Node::new();
    node.say(false, false);
    fs::write(node.log(), line(1)).unwrap();
    let mut agent = node.agent();
    agent.turn();
    assert_eq!(node.spooled(), Vec::<PathBuf>::new());
    fs::write(node.container().join("1.log"), line(2)).unwrap();
    agent.turn();
    assert_eq!(node.pieces().len(), 0, "nor anything that comes later");
    node.say(true, false);
    agent.turn();
    assert_eq!(node.pieces().len(), 2);
}

#[test]
fn a_kill_at_any_step_neither_loses_nor_doubles_a_log() {
    // How far the agent came before it was killed.
    for step in 0..6 {
        let node = Node::new();
        fs::write(node.log(), line(1)).unwrap();
        let mut agent = node.agent();
        if step == 0 {
            // Between link(2) and the name.
            let piece = node.pieces().remove(0);
            fs::rename(&piece, piece.with_file_name(NEW)).unwrap();
        }
        rotated(&node.log(), 1);
        fs::write(node.log(), line(2)).unwrap();
        if step >= 2 {
            agent.turn();
        }
        node.say(true, true);
        let sealed = if step >= 3 { agent.sealed() } else { None };
        if let (Some(sealed), 4..) = (&sealed, step) {
            let pieces: Vec<(PathBuf, Vec<u8>)> =
                sealed.pieces.iter().map(|piece| (piece.path.clone(), fs::read(&piece.path).unwrap())).collect();
            if step == 5 {
                let rotation = node.container().join("0.log.20261121-100001");
                // Killed while the pieces of a stored log were removed: one is there still.
                let link = pieces[0].0.clone();
                agent.stored(sealed);
                fs::hard_link(rotation, link).unwrap();
                assert!(node.spooled().iter().any(|path| path.ends_with(DONE)));
            }
        }
        drop(agent);
        let mut agent = node.agent();
        let again = agent.sealed();
        if step == 5 {
            assert_eq!(again, None, "it is stored");
            assert_eq!(node.pieces(), Vec::<PathBuf>::new());
        } else {
            assert_eq!(content(&again.unwrap()), [line(1), line(2)].concat(), "step {step}");
            assert_eq!(node.pieces().len(), 2, "step {step}");
        }
    }
}

#[test]
fn a_log_that_grew_after_it_was_sealed_or_stored_is_sealed_again_with_all_of_it() {
    let node = Node::new();
    fs::write(node.log(), line(1)).unwrap();
    node.say(true, true);
    let mut agent = node.agent();
    let sealed = agent.sealed.try_recv().unwrap();
    append(&node.log()).write_all(line(2).as_bytes()).unwrap();
    agent.stored(&sealed);
    let again = agent.sealed().or_else(|| agent.sealed()).expect("while it was on its way");
    assert_eq!(content(&again), [line(1), line(2)].concat());
    agent.stored(&again);
    assert_eq!(node.pieces(), Vec::<PathBuf>::new());

    append(&node.log()).write_all(line(3).as_bytes()).unwrap();
    let third = agent.sealed().or_else(|| agent.sealed()).expect("after it was stored");
    assert_eq!(content(&third), [line(1), line(2), line(3)].concat());
}

#[test]
fn a_stored_log_that_the_kubelet_compresses_late_is_not_stored_twice() {
    let node = Node::new();
    fs::write(node.log(), line(1)).unwrap();
    rotated(&node.log(), 1);
    fs::write(node.log(), line(2)).unwrap();
    node.say(true, true);
    let mut agent = node.agent();
    let sealed = agent.sealed.try_recv().unwrap();
    agent.stored(&sealed);
    compress(&node.container().join("0.log.20261121-100001"));
    for _ in 0..2 {
        assert_eq!(agent.sealed(), None);
        agent = node.agent();
    }
    assert_eq!(node.pieces(), Vec::<PathBuf>::new());
}

#[test]
fn what_the_coordinator_refuses_is_dropped_and_its_reason_kept() {
    let node = Node::new();
    fs::write(node.log(), line(1)).unwrap();
    node.say(true, true);
    let mut agent = node.agent();
    let sealed = agent.sealed.try_recv().unwrap();
    assert_eq!(agent.handle.lost(&sealed.log), None, "it is here");
    agent.answer(Outcome::Rejected { log: sealed.log.clone(), why: "it is another pod's".into() });
    assert_eq!(node.pieces(), Vec::<PathBuf>::new());
    assert_eq!(agent.sealed(), None);
    for _ in 0..2 {
        assert!(agent.handle.lost(&sealed.log).unwrap().why.contains("it is another pod's"));
        // Also after a restart.
        agent = node.agent();
    }
    let mut never = sealed.log.clone();
    never.attempt = 7;
    assert!(agent.handle.lost(&never).unwrap().why.contains("never seen"));
}

#[test]
fn a_piece_that_cannot_be_read_is_a_hole_and_the_rest_is_sealed_again() {
    let node = Node::new();
    fs::write(node.container().join("0.log.20261121-100000.gz"), [0x1f, 0x8b, 8, 0, 1]).unwrap();
    fs::write(node.log(), line(2)).unwrap();
    node.say(true, true);
    let mut agent = node.agent();
    let sealed = agent.sealed.try_recv().unwrap();
    assert_eq!(sealed.pieces.len(), 2);
    agent.answer(Outcome::Unreadable { log: sealed.log.clone(), why: "corrupt gzip".into() });
    let again = agent.sealed.try_recv().ok().or_else(|| agent.sealed()).unwrap();
    assert_eq!(content(&again), line(2));
    assert!(again.missing[0].why.contains("corrupt gzip"), "{:?}", again.missing);
}
