//! Where link(2) is impossible.

use std::os::unix::fs::symlink;

use super::*;

/// As dockershim makes them.
fn linked(node: &Node) -> PathBuf {
    let elsewhere = node.dir.path().join("containers-abc-json.log");
    append(&elsewhere).write_all(line(1).as_bytes()).unwrap();
    symlink(&elsewhere, node.log()).unwrap();
    elsewhere
}

#[test]
fn a_log_behind_a_symbolic_link_is_copied_as_it_grows_and_to_its_end() {
    let node = Node::new();
    let elsewhere = linked(&node);
    let mut agent = node.agent();
    let mut writer = append(&elsewhere);
    writer.write_all(line(2).as_bytes()).unwrap();
    agent.turn();
    // Both names go; the descriptor stays.
    fs::remove_file(node.log()).unwrap();
    fs::remove_file(&elsewhere).unwrap();
    writer.write_all(line(3).as_bytes()).unwrap();
    drop(writer);
    node.say(true, true);
    let sealed = agent.sealed().or_else(|| agent.sealed()).unwrap();
    assert_eq!(content(&sealed), [line(1), line(2), line(3)].concat());
    assert_eq!(sealed.missing, []);
}

#[test]
fn a_copy_is_gone_on_with_after_a_restart() {
    let node = Node::new();
    let elsewhere = linked(&node);
    drop(node.agent());
    append(&elsewhere).write_all(line(2).as_bytes()).unwrap();
    node.say(true, true);
    let mut agent = node.agent();
    let sealed = agent.sealed.try_recv().ok().or_else(|| agent.sealed()).unwrap();
    assert_eq!(content(&sealed), [line(1), line(2)].concat());
    assert_eq!(node.pieces().len(), 1);
}

#[test]
fn a_source_that_went_while_the_agent_was_down_is_a_hole_with_a_reason() {
    let node = Node::new();
    let elsewhere = linked(&node);
    drop(node.agent());
    fs::remove_file(node.log()).unwrap();
    fs::remove_file(elsewhere).unwrap();
    node.say(true, true);
    let mut agent = node.agent();
    let sealed = agent.sealed.try_recv().ok().or_else(|| agent.sealed()).unwrap();
    assert_eq!(content(&sealed), line(1));
    assert!(sealed.missing[0].why.contains("while the agent was down"), "{:?}", sealed.missing);
}

#[test]
fn whether_links_are_possible_is_tried_for_real() {
    let node = Node::new();
    let pods = node.dir.path().join("pods");
    assert_eq!(crate::logs::capture::probe(&pods, &node.options.spool).detail, "hard links");
    assert_eq!(fs::read_dir(&pods).unwrap().count(), 0, "nothing is left behind");
    // Another file system.
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let detail = crate::logs::capture::probe(&pods, other.path()).detail;
    assert!(detail.starts_with("copies: link(2) from"), "{detail}");
}
