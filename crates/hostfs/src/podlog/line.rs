//! One line of a container's log as a CRI runtime writes it: `<RFC 3339 time> stdout|stderr <tags> <content>`.
//!
//! The first tag tells a whole line (`F`) from a part of one (`P`), further ones follow after `:` and are not known to us
//! (Kubernetes, `pkg/kubelet/kuberuntime/logs`). Content is bytes: it is handed on as it was written.

use jiff::Timestamp;

use crate::error::Malformed;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub at: Timestamp,
    pub stream: Stream,
    /// More of the same line follows.
    pub partial: bool,
    pub content: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// `line` without its newline.
pub fn parse(line: &[u8]) -> Result<Line<'_>, Malformed> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let mut next = |what: &str| parts.next().ok_or_else(|| Malformed(format!("a log line without its {what}")));
    let (at, stream, tags) = (next("time")?, next("stream")?, next("tags")?);
    let content = parts.next().unwrap_or_default();
    let at = std::str::from_utf8(at).ok().and_then(|text| text.parse().ok());
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return Err(Malformed("a log line whose stream is neither stdout nor stderr".to_owned())),
    };
    let partial = match tags.split(|byte| *byte == b':').next() {
        Some(b"F") => false,
        Some(b"P") => true,
        _ => return Err(Malformed("a log line that is neither whole (F) nor a part (P)".to_owned())),
    };
    Ok(Line { at: at.ok_or_else(|| Malformed("a log line whose time is not RFC 3339".to_owned()))?, stream, partial, content })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written by containerd 1.6.
    const CAPTURED: &[u8] = br#"2026-11-20T20:29:51.313923474Z stderr F 2026-11-20T20:29:51.313817Z  INFO jobmeter_daemon::admin::readiness: ready part="journal""#;

    #[test]
    fn a_captured_line_is_read() {
        let line = parse(CAPTURED).unwrap();
        assert_eq!((line.stream, line.partial), (Stream::Stderr, false));
        assert!(line.content.ends_with(b"ready part=\"journal\""));
    }

    #[test]
    fn content_keeps_its_bytes_and_its_blanks() {
        let line = parse(b"2026-11-20T20:25:24.890000001Z stderr P:x  \xff a ").unwrap();
        assert_eq!((line.stream, line.partial, line.content), (Stream::Stderr, true, &b" \xff a "[..]));
        assert_eq!(
            parse(b"2026-11-20T20:25:24Z stdout F").unwrap().content,
            b"",
            "an empty line may come without its last blank"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, why) in [
            (&b""[..], "stream"),
            (b"yesterday stdout F x", "RFC 3339"),
            (b"2026-11-20T20:25:24Z stdin F x", "neither stdout nor stderr"),
            (b"2026-11-20T20:25:24Z stdout X x", "neither whole"),
            (b"2026-11-20T20:25:24Z stdout", "tags"),
        ] {
            assert!(parse(line).unwrap_err().0.contains(why), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(line in proptest::collection::vec(any::<u8>(), 0..200), tail in "[ -~]{0,60}") {
            if let Ok(found) = parse(&line) {
                prop_assert!(line.ends_with(found.content));
            }
            let plausible = [b"2026-11-20T20:25:24Z stdout F ", tail.as_bytes()].concat();
            prop_assert_eq!(parse(&plausible).unwrap().content, tail.as_bytes());
        }
    }
}
