//! A log that a real runtime wrote, of a program whose output is known another way.

use jobmeter_logtext::{SourceFormat, Stream};
use jobmeter_protocol::{Compression, LogFormat};

use crate::kit::{Done, encode, sha256, text};

const RAW: &[u8] = include_bytes!("../fixtures/containerd.log");
/// Of what the program printed.
const STDOUT: (usize, &str) = (5_062, "cc9c1fd01859fbb73caf0ba6591db7db7aad15ecdaaba6579828ad637230feb7");
const STDERR: (usize, &str) = (27_834, "3a9dced9f427eaa7139633a7be04abd515567c3e3cdf1b80bf13c9417be9b0da");

/// Its lines say themselves which stream they are of.
fn stream(done: &Done, mark: u8) -> (usize, String) {
    let text = done.content();
    let stream =
        text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.starts_with(&[mark])).collect::<Vec<_>>().concat();
    (stream.len(), sha256(&stream))
}

#[test]
fn what_the_program_printed_is_what_containerd_wrote_down() {
    for cuts in [&[][..], &[1], &[4096], &[255, 257]] {
        let done = text(&[RAW], cuts);
        assert_eq!(stream(&done, b'o'), (STDOUT.0, STDOUT.1.to_owned()));
        assert_eq!(stream(&done, b'e'), (STDERR.0, STDERR.1.to_owned()));
        let content = &done.encoded.content;
        assert_eq!((content.lines, content.malformed_lines, done.encoded.interrupted_lines), (6, 0, 0));
        assert_eq!(content.first, Some("2026-11-21T13:52:54.230715373Z".parse().unwrap()));
        assert_eq!(content.last, Some("2026-11-21T13:52:54.23092328Z".parse().unwrap()));
        let streams: Vec<Stream> = done.times().map(|entry| entry.unwrap().1).collect();
        assert_eq!(streams, [[Stream::Stderr; 4].as_slice(), &[Stream::Stdout; 2]].concat());
    }
}

#[test]
fn compressed_or_not_the_content_is_the_same() {
    let plain = text(&[RAW], &[]);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let done = encode(&[RAW], &[1000], SourceFormat::Cri, LogFormat::Text, compression);
        assert_eq!(done.content(), plain.object);
        assert_eq!(done.encoded.content.sha256, plain.encoded.content.sha256);
        assert_eq!(done.encoded.times, plain.encoded.times);
        let again = encode(&[RAW], &[], SourceFormat::Cri, LogFormat::Text, compression);
        assert_eq!(again.object, done.object);
    }
}
