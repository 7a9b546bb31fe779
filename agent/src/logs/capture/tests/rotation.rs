//! The kubelet renames, compresses and prunes while a container writes.

use super::*;

#[test]
fn a_log_that_is_rotated_compressed_and_pruned_while_it_is_written_is_whole_and_in_order() {
    let node = Node::new();
    let mut agent = node.agent();
    let mut written = String::new();
    for round in 0..4 {
        let mut file = append(&node.log());
        for n in 0..10 {
            let line = line(round * 10 + n);
            file.write_all(line.as_bytes()).unwrap();
            written += &line;
        }
        agent.turn();
        let rotated = rotated(&node.log(), round);
        // The runtime goes on writing to the old file until it opens the new one.
        let late = line(round * 10 + 10);
        file.write_all(late.as_bytes()).unwrap();
        written += &late;
        drop(file);
        agent.turn();
        let compressed = compress(&rotated);
        agent.turn();
        fs::remove_file(compressed).unwrap();
    }
    node.say(true, true);
    let sealed = agent.sealed().expect("sealed");
    assert_eq!(content(&sealed), written);
    assert_eq!(sealed.pieces.len(), 4, "what was compressed is held in plain already");
    assert_eq!(sealed.missing, []);
}

#[test]
fn what_was_compressed_before_the_agent_came_is_taken_compressed() {
    let node = Node::new();
    fs::write(node.log(), line(1)).unwrap();
    compress(&rotated(&node.log(), 1));
    fs::write(node.log(), line(2)).unwrap();
    node.say(true, true);
    let mut agent = node.agent();
    let sealed = agent.sealed().expect("sealed");
    let forms: Vec<PieceForm> = sealed.pieces.iter().map(|piece| piece.form).collect();
    assert_eq!(forms, [PieceForm::Gzip, PieceForm::Plain]);
    assert_eq!(content(&sealed), [line(1), line(2)].concat());
}

#[test]
fn a_file_that_takes_the_number_of_a_pruned_one_is_another_file() {
    let node = Node::new();
    let mut agent = node.agent();
    let mut written = String::new();
    // File systems give a number that became free to the next file: sooner or later it is one of these.
    for round in 0..20 {
        fs::write(node.log(), line(round)).unwrap();
        written += &line(round);
        agent.turn();
        let compressed = compress(&rotated(&node.log(), round));
        agent.turn();
        fs::remove_file(compressed).unwrap();
    }
    node.say(true, true);
    assert_eq!(content(&agent.sealed().expect("sealed")), written);
}

#[test]
fn files_that_were_seen_in_the_wrong_order_are_put_in_order_by_their_first_lines() {
    let node = Node::new();
    let mut agent = node.agent();
    fs::write(node.log(), line(2)).unwrap();
    agent.turn();
    fs::write(node.container().join("0.log.20261121-100000"), line(1)).unwrap();
    node.say(true, true);
    let sealed = agent.sealed().unwrap();
    assert_eq!(content(&sealed), [line(1), line(2)].concat());
}
