//! What does not happen every day: torn files, endless lines, one stream talking into the other's line.

use jobmeter_logtext::{LogEncoder, SourceFormat};
use jobmeter_protocol::{Compression, LogFormat};

use crate::kit::{encode, shown, text};

const OUT: &str = "2026-11-20T20:29:51.000000001Z stdout";
const ERR: &str = "2026-11-20T20:29:51.000000002Z stderr";
const MIB: usize = 1024 * 1024;

#[test]
fn a_half_written_last_line_is_kept_without_a_newline() {
    for (raw, expected) in [
        (format!("{OUT} F one\n{OUT} P two"), "one\ntwo"),
        (format!("{OUT} F one\n{OUT} P two\n"), "one\ntwo"),
        (format!("{OUT} F one\n{OUT} F two"), "one\ntwo"),
        (format!("{OUT} P last words\n{ERR} F and an error\n"), "last wordsand an error\n"),
    ] {
        let done = text(&[raw.as_bytes()], &[]);
        assert_eq!((shown(&done.object), done.encoded.content.malformed_lines), (expected.to_owned(), 0), "{raw}");
        assert_eq!(done.times().count() as u64, done.encoded.content.lines, "{raw}");
    }
}

#[test]
fn a_line_that_was_cut_off_does_not_run_on_into_the_next_file() {
    for (first, expected, malformed) in [
        (format!("{OUT} F cut of"), "cut of\nnext\n", 0),
        (format!("{OUT} P cut of\n"), "cut ofnext\n", 0),
        ("2026-11-20T20:2".to_owned(), "2026-11-20T20:2\nnext\n", 1),
    ] {
        let second = format!("{OUT} F next\n");
        let done = text(&[first.as_bytes(), second.as_bytes()], &[7]);
        assert_eq!((shown(&done.object), done.encoded.content.malformed_lines), (expected.to_owned(), malformed), "{first}");
    }
    let raw = [format!("{OUT} F cut of"), format!("{OUT} F next\n")];
    let done = encode(&[raw[0].as_bytes(), raw[1].as_bytes()], &[], SourceFormat::Cri, LogFormat::Cri, Compression::None);
    assert_eq!(shown(&done.object), raw.join("\n"));
}

#[test]
fn a_line_in_no_known_form_is_kept_and_counted() {
    let raw = format!("\0\0\0\n{OUT} F one\nnonsense\n{OUT} P tw\nmore nonsense\n{OUT} F o\n\n");
    let done = text(&[raw.as_bytes()], &[3]);
    assert_eq!(shown(&done.object), "\0\0\0\none\nnonsense\ntwo\nmore nonsense\n\n");
    let content = &done.encoded.content;
    assert_eq!((content.malformed_lines, content.lines), (4, 6));
    assert_eq!(done.times().count(), 6);
}

#[test]
fn plain_bytes_are_what_they_are_and_have_no_times() {
    let raw = b"{\"log\":1}\n2026-11-20T20:29:51Z stdout F x\n\xff no newline";
    let done = encode(&[raw], &[5], SourceFormat::Plain, LogFormat::Text, Compression::None);
    assert_eq!(done.object, raw);
    let content = &done.encoded.content;
    assert_eq!((content.lines, content.malformed_lines, content.first), (3, 0, None));
    assert!(!done.encoded.has_times && done.encoded.times.is_empty());
}

#[test]
fn an_empty_log_is_an_empty_object() {
    let done = text(&[b"", b""], &[]);
    assert!(done.object.is_empty() && !done.encoded.has_times);
    assert_eq!((done.encoded.content.lines, done.encoded.content.bytes, done.encoded.content.first), (0, 0, None));
}

#[test]
fn what_waits_for_an_unfinished_line_is_bounded_and_nothing_is_dropped() {
    let noise = "e".repeat(1000);
    let mut raw = format!("{OUT} P begun\n");
    for _ in 0..3 * MIB / 1000 {
        raw += &format!("{ERR} F {noise}\n");
    }
    raw += &format!("{OUT} F  and done\n");
    let done = text(&[raw.as_bytes()], &[4096]);
    assert_eq!(done.encoded.interrupted_lines, 1);
    let object = shown(&done.object);
    assert!(object.starts_with("beguneee") && object.ends_with("e\n and done\n"));
    assert_eq!(object.matches(&noise).count(), 3 * MIB / 1000, "no line of the noise was cut");
    assert_eq!(object.len(), "begun and done\n".len() + 3 * MIB / 1000 * 1001);
    assert_eq!(text(&[raw.as_bytes()], &[]).object, done.object);
    assert_eq!(done.times().count() as u64, done.encoded.content.lines);
}

/// Gibibytes without a newline go through in pieces; what comes out of each piece is not kept.
#[test]
fn a_line_without_end_streams() {
    for head in [format!("{OUT} F "), format!("{ERR} P begun\n{OUT} F "), "{\"log\":\"".to_owned(), "nonsense".to_owned()] {
        let mut encoder = LogEncoder::new(SourceFormat::Detect, LogFormat::Text, Compression::None, Vec::new()).unwrap();
        let (mut object, mut bytes) = (Vec::new(), 0);
        encoder.push(head.as_bytes(), &mut object).unwrap();
        let piece = vec![b'x'; MIB];
        for _ in 0..64 {
            encoder.push(&piece, &mut object).unwrap();
            bytes += object.len();
            assert!(object.len() <= 3 * MIB, "{head}: {} came out at once", object.len());
            object.clear();
        }
        assert!(bytes >= 62 * MIB, "{head}: {bytes} of 64 MiB came out before the end");
        let encoded = encoder.finish(&mut object).unwrap();
        assert_eq!(encoded.content.bytes, (bytes + object.len()) as u64);
    }
}
