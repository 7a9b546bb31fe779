//! A container is made up, and two runtimes that write down what it says; the encoder must give back what it said.

use std::fmt::Write;

use jiff::Timestamp;
use jobmeter_logtext::{SourceFormat, Stream};
use jobmeter_protocol::{Compression, LogFormat};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::kit::{Done, encode, sha256, shown};

/// A line of one stream, in parts, and whole lines of the other that came between the first part and the second.
#[derive(Clone, Debug)]
struct Said {
    stderr: bool,
    parts: Vec<Vec<u8>>,
    between: Vec<Vec<u8>>,
}

/// What the runtime would write, and what the container wrote.
#[derive(Default)]
struct Written {
    cri: Vec<u8>,
    docker: Vec<u8>,
    /// Where a file may end: after a line of the runtime's.
    ends: Vec<(usize, usize)>,
    truth: Vec<u8>,
    times: Vec<(Timestamp, Stream)>,
    clock: i64,
}

impl Written {
    fn part(&mut self, stderr: bool, content: &[u8], partial: bool) -> (Timestamp, Stream) {
        self.clock += 1_000_003 * (1 + self.clock % 7);
        let at = Timestamp::from_nanosecond(1_795_209_000_000_000_000 + i128::from(self.clock)).unwrap();
        let stream = if stderr { "stderr" } else { "stdout" };
        self.cri.extend_from_slice(format!("{at} {stream} {} ", if partial { "P" } else { "F" }).as_bytes());
        self.cri.extend_from_slice(content);
        self.cri.push(b'\n');
        self.docker.extend_from_slice(b"{\"log\":\"");
        for byte in content.iter().chain((!partial).then_some(&b'\n')) {
            match byte {
                b'\n' => self.docker.extend_from_slice(b"\\n"),
                b'"' | b'\\' => self.docker.extend_from_slice(&[b'\\', *byte]),
                0..0x20 => {
                    let mut escape = String::new();
                    write!(escape, "\\u{byte:04x}").unwrap();
                    self.docker.extend_from_slice(escape.as_bytes());
                }
                _ => self.docker.push(*byte),
            }
        }
        self.docker.extend_from_slice(format!("\",\"stream\":\"{stream}\",\"time\":\"{at}\"}}\n").as_bytes());
        self.ends.push((self.cri.len(), self.docker.len()));
        (at, if stderr { Stream::Stderr } else { Stream::Stdout })
    }

    fn line(&mut self, said: &Said, finished: bool) {
        let mut between = Vec::new();
        for (n, part) in said.parts.iter().enumerate() {
            let entry = self.part(said.stderr, part, !finished || n + 1 < said.parts.len());
            if n == 0 {
                self.times.push(entry);
                // Between a line and nothing there is nothing.
                if said.parts.len() > 1 {
                    between = said.between.iter().map(|line| self.part(!said.stderr, line, false)).collect();
                }
            }
            self.truth.extend_from_slice(part);
        }
        if finished {
            self.truth.push(b'\n');
        }
        for (line, entry) in said.between.iter().zip(between) {
            self.times.push(entry);
            self.truth.extend_from_slice(line);
            self.truth.push(b'\n');
        }
    }
}

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let any_but_newline = any::<u8>().prop_map(|byte| if byte == b'\n' { b' ' } else { byte });
    prop_oneof![4 => vec(any_but_newline, 1..60), 1 => vec(Just(b'x'), 1..longest)]
}

fn said() -> impl Strategy<Value = Said> {
    (any::<bool>(), vec(bytes(3_000), 1..4), vec(bytes(300), 0..3)).prop_map(|(stderr, parts, between)| Said {
        stderr,
        parts,
        between,
    })
}

fn written(lines: &[Said], last: Option<&Vec<u8>>) -> Written {
    let mut written = Written::default();
    for line in lines {
        written.line(line, true);
    }
    if let Some(last) = last {
        written.line(&Said { stderr: false, parts: vec![last.clone()], between: Vec::new() }, false);
    }
    written
}

fn check(done: &Done, written: &Written) -> Result<(), TestCaseError> {
    prop_assert_eq!(shown(&done.content()), shown(&written.truth));
    let content = &done.encoded.content;
    prop_assert_eq!((content.bytes, &content.sha256), (written.truth.len() as u64, &sha256(&written.truth)));
    prop_assert_eq!((content.lines, content.malformed_lines), (written.times.len() as u64, 0));
    prop_assert_eq!(done.encoded.has_times, !written.times.is_empty());
    if done.encoded.has_times {
        prop_assert_eq!(done.times().map(Result::unwrap).collect::<Vec<_>>(), &written.times[..]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_the_container_wrote_comes_back(
        lines in vec(said(), 0..30),
        last in proptest::option::of(bytes(500)),
        cuts in vec(1_usize..700, 1..6),
        file_end in any::<Index>(),
        compression in prop_oneof![Just(Compression::None), Just(Compression::Gzip), Just(Compression::Zstd)],
    ) {
        let written = written(&lines, last.as_ref());
        let (cri, docker) = if written.ends.is_empty() { (0, 0) } else { *file_end.get(&written.ends) };
        for (raw, end) in [(&written.cri, cri), (&written.docker, docker)] {
            let files = [&raw[..end], &raw[end..]];
            let done = encode(&files, &cuts, SourceFormat::Detect, LogFormat::Text, compression);
            check(&done, &written)?;
            let whole = encode(&[raw], &[], SourceFormat::Detect, LogFormat::Text, compression);
            prop_assert_eq!(whole.object, done.object, "the object does not tell how the log was cut");
            prop_assert_eq!(whole.encoded.times, done.encoded.times);
        }
    }

    #[test]
    fn raw_lines_stay_as_they_are(
        lines in vec(said(), 0..30),
        cuts in vec(1_usize..700, 1..6),
    ) {
        let written = written(&lines, None);
        for raw in [&written.cri, &written.docker] {
            let done = encode(&[raw], &cuts, SourceFormat::Detect, LogFormat::Cri, Compression::Zstd);
            prop_assert_eq!(&done.content(), raw);
            let content = &done.encoded.content;
            prop_assert_eq!((content.lines, content.malformed_lines), (written.ends.len() as u64, 0));
            prop_assert_eq!(&content.sha256, &sha256(raw));
            prop_assert_eq!(content.first, written.times.first().map(|(at, _)| *at));
            prop_assert!(!done.encoded.has_times && done.encoded.times.is_empty());
        }
    }

    #[test]
    fn whatever_the_bytes_are_the_object_does_not_tell_how_they_were_cut(
        raw in vec(prop_oneof![
            3 => Just(b"2026-11-20T20:29:51.313923474Z stdout P part".to_vec()),
            3 => Just(b"2026-11-20T20:29:51.31Z stderr F whole".to_vec()),
            1 => Just(b"{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-20T20:29:51Z\"}".to_vec()),
            4 => Just(b"\n".to_vec()),
            1 => vec(any::<u8>(), 1..600),
        ], 0..40),
        cuts in vec(1_usize..300, 1..6),
    ) {
        let raw = raw.concat();
        for format in [LogFormat::Text, LogFormat::Cri] {
            let cut = encode(&[&raw], &cuts, SourceFormat::Detect, format, Compression::None);
            let whole = encode(&[&raw], &[], SourceFormat::Detect, format, Compression::None);
            prop_assert_eq!(shown(&cut.object), shown(&whole.object));
            prop_assert_eq!(&cut.encoded.content, &whole.encoded.content);
            prop_assert_eq!(&cut.encoded.times, &whole.encoded.times);
            if format == LogFormat::Text && cut.encoded.has_times {
                prop_assert_eq!(cut.times().count() as u64, cut.encoded.content.lines, "one entry for each line");
            }
        }
    }
}
