//! One line of a container's log as a CRI runtime writes it: `<RFC 3339 time> stdout|stderr <tags> <content>`.
//!
//! The first tag tells a whole line (`F`) from a part of one (`P`), further ones follow after `:` and are not known to us
//! (Kubernetes, `pkg/kubelet/kuberuntime/logs`). Content is bytes: it is handed on as it was written.

use jiff::Timestamp;

use crate::{
    Stream,
    clock::{self, Clock},
};

/// Time, stream and tags must be within so many bytes, whatever follows.
pub(crate) const HEAD: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub at: Timestamp,
    pub stream: Stream,
    /// More of the same line follows.
    pub partial: bool,
    pub content: &'a [u8],
}

/// `line` without its newline. `None`: it is in no such form.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let head = head(&mut Clock::default(), line)?;
    let content = line.get(head.len..)?;
    Some(Line { at: clock::timestamp(head.at), stream: head.stream, partial: head.partial, content })
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) at: i64,
    pub(crate) stream: Stream,
    pub(crate) partial: bool,
    /// Where the content begins.
    pub(crate) len: usize,
}

/// `line` without its newline: all of it, or at least its first [`HEAD`] bytes.
#[inline]
pub(crate) fn head(clock: &mut Clock, line: &[u8]) -> Option<Head> {
    let window = line.get(..HEAD).unwrap_or(line);
    let (at, time_len) = time(clock, window)?;
    let rest = window.get(time_len + 1..)?;
    let stream = match rest.get(..7)? {
        b"stdout " => Stream::Stdout,
        b"stderr " => Stream::Stderr,
        _ => return None,
    };
    let tags = rest.get(7..)?;
    let partial = match tags.first()? {
        b'F' => false,
        b'P' => true,
        _ => return None,
    };
    let tags_len = match tags.get(1) {
        Some(b' ') => Some(1),
        Some(b':') => tags.iter().position(|byte| *byte == b' '),
        Some(_) => return None,
        None => None,
    };
    let len = match tags_len {
        Some(tags_len) => time_len + 1 + 7 + tags_len + 1,
        // An empty line may come without its last blank.
        None if line.len() < HEAD => line.len(),
        None => return None,
    };
    Some(Head { at, stream, partial, len })
}

/// And its length.
#[inline]
fn time(clock: &mut Clock, window: &[u8]) -> Option<(i64, usize)> {
    const USUAL: usize = "2026-11-20T20:29:51.313923474Z".len();
    if window.get(USUAL - 1..=USUAL) == Some(b"Z ")
        && let Some(at) = clock.read(&window[..USUAL])
    {
        return Some((at, USUAL));
    }
    let len = window.iter().position(|byte| *byte == b' ')?;
    Some((clock.read(&window[..len])?, len))
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
        assert_eq!(line.at, "2026-11-20T20:29:51.313923474Z".parse().unwrap());
        assert!(line.content.ends_with(b"ready part=\"journal\""));
    }

    #[test]
    fn content_keeps_its_bytes_and_its_blanks() {
        let line = parse(b"2026-11-20T20:25:24.890000001Z stderr P:x  \xff a ").unwrap();
        assert_eq!((line.stream, line.partial, line.content), (Stream::Stderr, true, &b" \xff a "[..]));
        let empty = parse(b"2026-11-20T20:25:24Z stdout F").unwrap();
        assert_eq!(empty.content, b"", "an empty line may come without its last blank");
    }

    #[test]
    fn what_is_in_another_form_is_not_read() {
        let long = format!("2026-11-20T20:25:24Z stdout F:{} x", "t".repeat(HEAD));
        for line in [
            &b""[..],
            b"yesterday stdout F x",
            b"2026-11-20T20:25:24Z stdin F x",
            b"2026-11-20T20:25:24Z stdout X x",
            b"2026-11-20T20:25:24Z stdout FP x",
            b"2026-11-20T20:25:24Z stdout",
            long.as_bytes(),
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(line in proptest::collection::vec(any::<u8>(), 0..300), tail in "[ -~]{0,60}") {
            if let Some(found) = parse(&line) {
                prop_assert!(line.ends_with(found.content));
            }
            let plausible = [b"2026-11-20T20:25:24Z stdout F ", tail.as_bytes()].concat();
            prop_assert_eq!(parse(&plausible).unwrap().content, tail.as_bytes());
        }
    }
}
