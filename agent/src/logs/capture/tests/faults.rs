//! What goes wrong between two steps, or beside them.

use std::os::unix::fs::symlink;

use super::*;
use crate::logs::capture::run::NEW;

#[test]
fn a_piece_that_is_given_up_while_it_is_uploaded_does_not_cost_the_log_that_is_stored() {
    let node = Node::new();
    let mut agent = node.agent();
    fs::write(node.log(), line(1)).unwrap();
    agent.turn();
    fs::remove_file(rotated(&node.log(), 1)).unwrap();
    fs::write(node.log(), line(2)).unwrap();
    node.say(true, true);
    let sealed = agent.sealed().unwrap();
    agent.thread.options.max_bytes = 0;
    agent.turn();
    assert_eq!(node.pieces().len(), 1, "given up");
    // The shipper had read it by then.
    agent.stored(&sealed);
    assert_eq!(agent.sealed(), None, "a second upload would put the rest in the place of the whole");
    assert_eq!(node.pieces(), Vec::<PathBuf>::new());
}

#[test]
fn a_kill_between_the_link_to_a_compressed_file_and_the_look_at_it_does_not_double_it() {
    for name in [NEW, "000002-0-4711.gz"] {
        let node = Node::new();
        let mut agent = node.agent();
        fs::write(node.log(), line(1)).unwrap();
        agent.turn();
        let directory = node.pieces()[0].parent().unwrap().to_owned();
        drop(agent);
        let compressed = compress(&rotated(&node.log(), 1));
        fs::hard_link(&compressed, directory.join(name)).unwrap();
        fs::write(node.log(), line(2)).unwrap();
        node.say(true, true);
        let mut agent = node.agent();
        let sealed = agent.sealed.try_recv().ok().or_else(|| agent.sealed()).unwrap();
        assert_eq!(content(&sealed), [line(1), line(2)].concat(), "{name}");
    }
}

#[test]
fn a_link_whose_name_could_not_be_settled_does_not_keep_later_files_from_being_linked() {
    let node = Node::new();
    let mut agent = node.agent();
    fs::write(node.log(), line(1)).unwrap();
    agent.turn();
    let directory = node.pieces()[0].parent().unwrap().to_owned();
    let second = rotated(&node.log(), 1);
    fs::hard_link(second, directory.join(NEW)).unwrap();
    fs::write(node.log(), line(2)).unwrap();
    agent.turn();
    assert_eq!(node.pieces().len(), 2);
}

#[test]
fn a_log_that_grew_after_its_rotation_was_stored_and_compressed_is_stored_again_with_all_of_it() {
    let node = Node::new();
    let first: String = (0..200).map(line).collect();
    fs::write(node.log(), &first).unwrap();
    let mut agent = node.agent();
    let rotation = rotated(&node.log(), 1);
    fs::write(node.log(), line(300)).unwrap();
    agent.turn();
    let compressed = compress(&rotation);
    agent.turn();
    node.say(true, true);
    let sealed = agent.sealed().unwrap();
    agent.stored(&sealed);
    assert!(compressed.exists());
    append(&node.log()).write_all(line(301).as_bytes()).unwrap();
    let again = agent.sealed().or_else(|| agent.sealed()).expect("the kubelet has all of it");
    assert_eq!(content(&again), [first, line(300), line(301)].concat());
}

#[test]
fn notes_of_another_version_cost_no_log() {
    let node = Node::new();
    fs::write(node.log(), line(1)).unwrap();
    let agent = node.agent();
    let directory = node.pieces()[0].parent().unwrap().to_owned();
    drop(agent);
    // Now only the spool has it.
    fs::remove_file(node.log()).unwrap();
    fs::write(directory.join("state.json"), r#"{"missing":7}"#).unwrap();
    fs::write(directory.join("done.json"), r#"{"fate":"unheard of"}"#).unwrap();
    node.say(true, true);
    let mut agent = node.agent();
    let sealed = agent.sealed.try_recv().ok().or_else(|| agent.sealed()).unwrap();
    assert_eq!(content(&sealed), line(1));
    assert!(sealed.missing[0].why.contains("cannot be read"), "{:?}", sealed.missing);
}

#[test]
fn a_log_is_as_large_whether_its_rotation_was_compressed_before_it_was_seen_or_not() {
    let node = Node::new();
    let first: String = (0..200).map(line).collect();
    fs::write(node.log(), &first).unwrap();
    compress(&rotated(&node.log(), 1));
    fs::write(node.log(), line(300)).unwrap();
    node.say(true, true);
    let sealed = node.agent().sealed.try_recv().unwrap();
    assert_eq!(sealed.pieces[0].form, PieceForm::Gzip);
    assert_eq!(sealed.raw_bytes, (first + &line(300)).len() as u64);
}

#[test]
fn more_holes_than_the_coordinator_takes_are_told_in_few() {
    let node = Node::new();
    let mut agent = node.agent();
    fs::write(node.log(), line(1)).unwrap();
    agent.turn();
    let run = agent.thread.pods.values_mut().next().unwrap().runs.values_mut().next().unwrap();
    for n in 0..2_000 {
        run.state.missing.push(jobmeter_protocol::Missing { why: format!("hole {n}"), raw_bytes: Some(10) });
    }
    node.say(true, true);
    let sealed = agent.sealed().unwrap();
    assert!(sealed.missing.len() < 1_000);
    assert_eq!(sealed.missing.iter().filter_map(|hole| hole.raw_bytes).sum::<u64>(), 20_000);
    assert!(sealed.missing.last().unwrap().why.contains("hole 1999"));
}

#[test]
fn a_file_that_somebody_removes_from_the_spool_is_a_hole_and_the_rest_is_sealed() {
    let node = Node::new();
    let mut agent = node.agent();
    fs::write(node.log(), line(1)).unwrap();
    agent.turn();
    fs::remove_file(rotated(&node.log(), 1)).unwrap();
    fs::write(node.log(), line(2)).unwrap();
    agent.turn();
    fs::remove_file(node.pieces().remove(0)).unwrap();
    node.say(true, true);
    let sealed = agent.sealed().or_else(|| agent.sealed()).expect("not stuck");
    assert_eq!(content(&sealed), line(2));
    assert!(sealed.missing[0].why.contains("removed from the spool"), "{:?}", sealed.missing);
}

/// A directory of logs whose files can only be copied.
fn copied(node: &Node, name: &str) -> PathBuf {
    let elsewhere = node.dir.path().join(name);
    append(&elsewhere).write_all(line(1).as_bytes()).unwrap();
    symlink(&elsewhere, node.log()).unwrap();
    elsewhere
}

#[test]
fn a_rotation_that_was_copied_is_not_copied_once_more_when_it_is_compressed() {
    let node = Node::new();
    let elsewhere = copied(&node, "first");
    let mut agent = node.agent();
    fs::remove_file(node.log()).unwrap();
    symlink(compress(&elsewhere), node.container().join("0.log.20261121-100001.gz")).unwrap();
    fs::write(node.log(), line(2)).unwrap();
    node.say(true, true);
    let sealed = agent.sealed().or_else(|| agent.sealed()).unwrap();
    assert_eq!(content(&sealed), [line(1), line(2)].concat());
}

#[test]
fn what_a_full_disk_took_of_a_copy_is_not_in_it_twice() {
    let node = Node::new();
    let elsewhere = copied(&node, "first");
    let mut agent = node.agent();
    append(&node.pieces()[0]).write_all(&line(2).as_bytes()[..10]).unwrap();
    append(&elsewhere).write_all(line(2).as_bytes()).unwrap();
    node.say(true, true);
    let sealed = agent.sealed().or_else(|| agent.sealed()).unwrap();
    assert_eq!(content(&sealed), [line(1), line(2)].concat());
}

#[test]
fn a_copied_file_that_the_runtime_has_removed_is_not_kept_on_the_disk_by_us() {
    let node = Node::new();
    let elsewhere = copied(&node, "first");
    let mut agent = node.agent();
    let open = |agent: &Life| {
        let mut pieces = agent.thread.pods.values().flat_map(|pod| pod.runs.values()).flat_map(|run| &run.pieces);
        pieces.any(|piece| piece.copying.is_some())
    };
    assert!(open(&agent));
    let writer = append(&elsewhere);
    fs::remove_file(&elsewhere).unwrap();
    fs::remove_file(node.log()).unwrap();
    agent.turn();
    assert!(open(&agent), "somebody writes to it still");
    drop(writer);
    agent.turn();
    assert!(!open(&agent));
    assert_eq!(node.pieces().len(), 1);
}

#[test]
fn what_the_kubelet_removed_while_the_agent_was_down_is_not_called_complete() {
    let node = Node::new();
    let mut agent = node.agent();
    fs::write(node.log(), line(1)).unwrap();
    agent.turn();
    drop(agent);
    let first = rotated(&node.log(), 1);
    fs::write(node.log(), line(2)).unwrap();
    let unseen = rotated(&node.log(), 2);
    fs::write(node.log(), line(3)).unwrap();
    fs::remove_file(first).unwrap();
    fs::remove_file(unseen).unwrap();
    let mut agent = node.agent();
    node.say(true, true);
    let sealed = agent.sealed().or_else(|| agent.sealed()).unwrap();
    assert_eq!(content(&sealed), [line(1), line(3)].concat());
    assert_eq!(sealed.missing.len(), 1, "{:?}", sealed.missing);
}

#[test]
fn a_rotation_while_the_agent_was_down_that_left_the_files_in_place_misses_nothing() {
    let node = Node::new();
    let mut agent = node.agent();
    fs::write(node.log(), line(1)).unwrap();
    agent.turn();
    drop(agent);
    rotated(&node.log(), 1);
    fs::write(node.log(), line(2)).unwrap();
    let mut agent = node.agent();
    node.say(true, true);
    let sealed = agent.sealed().or_else(|| agent.sealed()).unwrap();
    assert_eq!((content(&sealed), sealed.missing.as_slice()), ([line(1), line(2)].concat(), &[][..]));
}
