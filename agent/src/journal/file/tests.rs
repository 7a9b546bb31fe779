//! A journal after each kind of accident.

use std::fs;

use jobmeter_protocol::{PodEvidence, Sampled, Stage};
use tempfile::TempDir;

use super::*;

fn evidence(uid: &str, samples: u64) -> Entry {
    let evidence = PodEvidence {
        pod_uid: uid.into(),
        node: "node-a".into(),
        namespace: None,
        pod: None,
        stage: Stage::Running,
        segments: vec![],
        containers: vec![],
        processes: vec![],
        sampled: Sampled { samples, ..Sampled::default() },
        gaps: vec![],
    };
    Entry::Evidence { evidence: Box::new(evidence) }
}

fn forgot(uid: &str) -> Entry {
    Entry::Forgot { pod_uid: uid.into() }
}

fn open(directory: &TempDir) -> (FileJournal, Replay) {
    FileJournal::open(directory.path(), 1 << 20).unwrap()
}

/// What an agent that starts now would know: samples by pod.
fn replayed(directory: &TempDir) -> Vec<(String, u64)> {
    let (_, replay) = open(directory);
    replay.live.into_iter().map(|(uid, evidence)| (uid, evidence.sampled.samples)).collect()
}

fn text(directory: &TempDir) -> Vec<u8> {
    fs::read(directory.path().join(JOURNAL)).unwrap()
}

#[test]
fn what_was_written_and_not_forgotten_is_there_again() {
    let directory = TempDir::new().unwrap();
    {
        let (mut journal, replay) = open(&directory);
        assert!(replay.live.is_empty());
        journal.append(&[evidence("a", 1), evidence("b", 1)]).unwrap();
        journal.append(&[evidence("a", 2), forgot("b")]).unwrap();
    }
    assert_eq!(replayed(&directory), [("a".to_owned(), 2)]);
}

#[test]
fn a_line_cut_off_at_any_byte_costs_that_line_only() {
    let whole = TempDir::new().unwrap();
    let before = {
        let (mut journal, _) = open(&whole);
        journal.append(&[evidence("a", 1)]).unwrap();
        let before = journal.len();
        journal.append(&[evidence("b", 1)]).unwrap();
        usize::try_from(before).unwrap()
    };
    let text = text(&whole);
    for end in before..text.len() {
        let torn = TempDir::new().unwrap();
        fs::write(torn.path().join(JOURNAL), &text[..end]).unwrap();
        let (_, replay) = open(&torn);
        assert_eq!(replay.live.keys().collect::<Vec<_>>(), ["a"], "cut at {end}");
        assert_eq!((replay.torn, replay.corrupt), (end > before, 0));
    }
}

#[test]
fn a_corrupt_line_is_skipped_counted_and_put_aside() {
    let directory = TempDir::new().unwrap();
    {
        let (mut journal, _) = open(&directory);
        journal.append(&[evidence("a", 1), evidence("b", 1), evidence("c", 1)]).unwrap();
    }
    let mut bytes = text(&directory);
    let at = bytes.windows(3).position(|window| window == b"\"b\"").unwrap();
    bytes[at + 1] = b'x';
    fs::write(directory.path().join(JOURNAL), bytes).unwrap();
    let (_, replay) = open(&directory);
    assert_eq!(replay.live.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(replay.corrupt, 1);
    let aside = fs::read_to_string(directory.path().join(QUARANTINE)).unwrap();
    assert!(aside.contains("\"x\"") && aside.lines().count() == 1, "{aside}");
}

#[test]
fn lines_of_rubbish_do_not_hide_the_good_ones() {
    let directory = TempDir::new().unwrap();
    {
        let (mut journal, _) = open(&directory);
        journal.append(&[evidence("a", 1)]).unwrap();
    }
    let mut bytes = b"\n\0\xff\nshort\n00000000 {}\nzzzzzzzz {}\n".to_vec();
    bytes.extend(text(&directory));
    fs::write(directory.path().join(JOURNAL), bytes).unwrap();
    let (_, replay) = open(&directory);
    assert_eq!((replay.live.len(), replay.corrupt), (1, 5));
}

#[test]
fn two_agents_never_share_a_journal() {
    let directory = TempDir::new().unwrap();
    let (held, _) = open(&directory);
    assert!(matches!(FileJournal::open(directory.path(), 1 << 20), Err(OpenError::Locked { .. })));
    drop(held);
    open(&directory);
}

#[test]
fn history_is_dropped_once_it_outweighs_what_lives() {
    let directory = TempDir::new().unwrap();
    {
        let (mut journal, _) = FileJournal::open(directory.path(), 10_000).unwrap();
        journal.append(&[evidence("old", 7)]).unwrap();
        let mut compacted = 0;
        for n in 0..400 {
            compacted += u32::from(journal.append(&[evidence("busy", n)]).unwrap().compacted);
            assert!(journal.len() < 12_000);
        }
        assert!(compacted > 2);
    }
    assert_eq!(replayed(&directory), [("busy".to_owned(), 399), ("old".to_owned(), 7)]);
}

#[test]
fn a_rewrite_that_was_interrupted_leaves_the_old_journal_in_force() {
    let directory = TempDir::new().unwrap();
    {
        let (mut journal, _) = open(&directory);
        journal.append(&[evidence("a", 1)]).unwrap();
    }
    fs::write(directory.path().join("journal.new"), b"half a li").unwrap();
    assert_eq!(replayed(&directory), [("a".to_owned(), 1)]);
}

#[test]
fn a_journal_of_a_newer_agent_is_kept_and_not_read() {
    let directory = TempDir::new().unwrap();
    let mut bytes = Vec::new();
    Entry::Begin { version: 99 }.encode(&mut bytes).unwrap();
    evidence("a", 1).encode(&mut bytes).unwrap();
    fs::write(directory.path().join(JOURNAL), &bytes).unwrap();
    let (_, replay) = open(&directory);
    assert_eq!((replay.live.len(), replay.foreign), (0, Some(99)));
    assert_eq!(fs::read(directory.path().join("journal.v99")).unwrap(), bytes);
}

#[test]
fn after_a_failed_write_the_next_one_finds_a_clean_end() {
    let directory = TempDir::new().unwrap();
    {
        let (mut journal, _) = open(&directory);
        journal.append(&[evidence("a", 1)]).unwrap();
        let good = std::mem::replace(&mut journal.file, File::open(directory.path().join(JOURNAL)).unwrap());
        assert!(journal.append(&[evidence("b", 1)]).is_err(), "opened for reading only");
        journal.file = good;
        journal.append(&[evidence("c", 1)]).unwrap();
    }
    assert_eq!(replayed(&directory), [("a".to_owned(), 1), ("c".to_owned(), 1)]);
}

#[test]
fn nobody_else_may_read_the_journal_or_what_was_put_aside() {
    use std::os::unix::fs::PermissionsExt;
    let above = TempDir::new().unwrap();
    let directory = above.path().join("agent");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    for _ in 0..2 {
        drop(FileJournal::open(&directory, 1 << 20).unwrap());
        fs::write(directory.join(JOURNAL), b"rubbish\n").unwrap();
        fs::set_permissions(directory.join(JOURNAL), fs::Permissions::from_mode(0o644)).unwrap();
    }
    drop(FileJournal::open(&directory, 1 << 20).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.contains(&directory.join(QUARANTINE)));
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}
