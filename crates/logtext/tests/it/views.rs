//! Logs as people ask for them: with times, since a moment.

use jobmeter_logtext::{
    SourceFormat,
    render::{Lines, Text, View},
    times::TimesError,
};
use jobmeter_protocol::{Compression, LogFormat};

use crate::kit::{encode, shown, text};

const RAW: &str = "\
2026-11-20T20:29:51.1Z stdout F one
2026-11-20T20:29:52.2Z stderr P tw
2026-11-20T20:29:53.000000003Z stdout F between
2026-11-20T20:29:54Z stderr F o
2026-11-20T20:29:55Z stdout P no newline
";

/// As text with its index, and as raw lines: they must look the same.
fn views(view: View) -> String {
    let stored = text(&[RAW.as_bytes()], &[]);
    let mut by_index = Vec::new();
    let mut reader = Text::new(view, stored.times());
    for piece in stored.object.chunks(3) {
        reader.push(piece, &mut by_index).unwrap();
    }
    let stored = encode(&[RAW.as_bytes()], &[], SourceFormat::Detect, LogFormat::Cri, Compression::None);
    let mut by_lines = Vec::new();
    let mut reader = Lines::new(view);
    for piece in stored.object.chunks(5) {
        reader.push(piece, &mut by_lines);
    }
    reader.finish(&mut by_lines);
    assert_eq!(shown(&by_index), shown(&by_lines));
    shown(&by_lines)
}

#[test]
fn lines_begin_with_the_time_of_their_first_part() {
    let expected = "\
2026-11-20T20:29:51.100000000Z one
2026-11-20T20:29:52.200000000Z two
2026-11-20T20:29:53.000000003Z between
2026-11-20T20:29:55.000000000Z no newline";
    assert_eq!(views(View { timestamps: true, since: None }), expected);
    assert_eq!(views(View::default()), "one\ntwo\nbetween\nno newline");
}

#[test]
fn only_lines_since_a_moment_are_shown() {
    let since = |moment: &str| View { timestamps: false, since: Some(moment.parse().unwrap()) };
    assert_eq!(views(since("2026-11-20T20:29:52.2Z")), "two\nbetween\nno newline");
    assert_eq!(views(since("2026-11-20T20:29:52.200000001Z")), "between\nno newline");
    assert_eq!(views(since("2026-11-20T20:29:56Z")), "");
    let both = View { timestamps: true, ..since("2026-11-20T20:29:54Z") };
    assert_eq!(views(both), "2026-11-20T20:29:55.000000000Z no newline");
}

#[test]
fn an_index_of_another_log_is_told_by_the_line_that_it_lacks() {
    let stored = text(&[RAW.as_bytes()], &[]);
    let mut reader = Text::new(View { timestamps: true, since: None }, stored.times());
    let outcome = reader.push(b"1\n2\n3\n4\n5\n", &mut Vec::new());
    assert!(matches!(outcome, Err(TimesError::TooFew(5))));
}
