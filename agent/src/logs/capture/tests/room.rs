//! A spool that is full.

use super::*;

#[test]
fn a_full_spool_gives_up_old_pieces_and_the_log_says_so() {
    let mut node = Node::new();
    node.options.max_bytes = 250;
    let mut agent = node.agent();
    for round in 0..6 {
        fs::write(node.log(), line(round)).unwrap();
        agent.turn();
        // The kubelet prunes: from now on only the spool has it.
        fs::remove_file(rotated(&node.log(), round)).unwrap();
        agent.turn();
    }
    fs::write(node.log(), line(6)).unwrap();
    node.say(true, true);
    let sealed = agent.sealed().unwrap();
    let text = content(&sealed);
    assert!(text.starts_with(&line(0)) && text.ends_with(&line(6)), "its beginning and its end are worth most: {text}");
    assert!(!sealed.missing.is_empty());
    assert!(sealed.missing.iter().all(|hole| hole.raw_bytes == Some(line(0).len() as u64)), "{:?}", sealed.missing);
    let lines = text.lines().count() + sealed.missing.len();
    assert_eq!(lines, 7, "what is not in it is among the holes");

    drop(agent);
    let again = node.agent().sealed.try_recv().unwrap();
    assert_eq!(again.missing, sealed.missing, "also after a restart");
}

#[test]
fn what_the_kubelet_has_as_well_is_never_given_up() {
    let mut node = Node::new();
    node.options.max_bytes = 0;
    fs::write(node.log(), line(1)).unwrap();
    let mut agent = node.agent();
    agent.turn();
    assert_eq!(node.pieces().len(), 1);
}
