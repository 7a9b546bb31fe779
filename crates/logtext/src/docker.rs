//! One line of Docker's json-file: `{"log":"…\n","stream":"stdout","time":"…"}`, perhaps with more keys, in any order.
//!
//! In: the line. Out: what the container wrote, its escapes decoded. Docker writes parts of at most 16 KiB; one without a
//! newline at its end is continued by the next of its stream.

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use crate::Stream;

/// Six characters for each of 16 Ki bytes are 96 KiB, and there may be other keys. A longer line is not Docker's.
pub(crate) const LONGEST: usize = 1024 * 1024;

pub(crate) struct Line<'a> {
    pub(crate) log: Vec<u8>,
    pub(crate) stream: Stream,
    pub(crate) time: &'a [u8],
}

#[derive(Deserialize)]
struct Entry<'a> {
    log: Bytes,
    #[serde(borrow)]
    stream: &'a str,
    #[serde(borrow)]
    time: &'a str,
}

struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }

        // As bytes: what is not UTF-8 must not make the line unreadable.
        from.deserialize_bytes(Reader)
    }
}

/// `None`: it is in no such form.
pub(crate) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let entry: Entry<'_> = serde_json::from_slice(line).ok()?;
    let stream = match entry.stream {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    Some(Line { log: entry.log.0, stream, time: entry.time.as_bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_other_keys_are_passed_over() {
        let line = parse(
            br#"{"attrs":{"tag":"x"},"log":"a\u003cb\u0000 \"q\" \ud83d\ude00 \\ \u001b[1m\r\n","stream":"stderr","time":"2026-11-20T20:29:51.3Z"}"#,
        )
        .unwrap();
        assert_eq!(line.log, "a<b\0 \"q\" 😀 \\ \u{1b}[1m\r\n".as_bytes());
        assert_eq!((line.stream, line.time), (Stream::Stderr, &b"2026-11-20T20:29:51.3Z"[..]));
    }

    #[test]
    fn bytes_that_are_not_utf8_stay_as_they_are() {
        let line = parse(b"{\"log\":\"\xff\xfe\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-20T20:29:51Z\"}").unwrap();
        assert_eq!(line.log, b"\xff\xfe\n");
    }

    #[test]
    fn what_is_in_another_form_is_not_read() {
        for line in [
            &br#"{"log":"x\n","stream":"stdin","time":"2026-11-20T20:29:51Z"}"#[..],
            br#"{"log":"x\n","stream":"stdout"}"#,
            br#"{"log":7,"stream":"stdout","time":"2026-11-20T20:29:51Z"}"#,
            br#"{"log":"x\n","stream":"stdout","time":"2026-11-"#,
            b"[]",
            b"",
        ] {
            assert!(parse(line).is_none(), "{}", String::from_utf8_lossy(line));
        }
    }
}
