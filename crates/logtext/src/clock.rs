//! Times as the runtimes write them → nanoseconds since 1970. In: bytes. Out: a number; `None` for what is no RFC 3339 time.
//!
//! Lines of a log are a few microseconds apart, so the calendar is asked once a minute; the rest is digits.

use jiff::Timestamp;

const MINUTE: usize = "2026-11-20T20:29".len();
const SECOND: i64 = 1_000_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Clock {
    minute: [u8; MINUTE],
    /// Of `minute`, in UTC.
    start: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { minute: *b"1970-01-01T00:00", start: 0 }
    }
}

impl Clock {
    #[inline]
    pub(crate) fn read(&mut self, text: &[u8]) -> Option<i64> {
        self.quick(text).or_else(|| {
            let at: Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
            i64::try_from(at.as_nanosecond()).ok()
        })
    }

    /// The usual form: `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`.
    #[inline]
    fn quick(&mut self, text: &[u8]) -> Option<i64> {
        let (minute, rest) = text.split_first_chunk::<MINUTE>()?;
        if *minute != self.minute {
            self.turn(minute)?;
        }
        let [b':', tens @ b'0'..=b'5', ones, rest @ ..] = rest else { return None };
        let (fraction, zone) = match rest {
            [b'.', rest @ ..] => fraction(rest)?,
            _ => (0, rest),
        };
        let behind = match zone {
            b"Z" => 0,
            _ => offset(zone)?,
        };
        let seconds = digit(*tens)? * 10 + digit(*ones)? - behind;
        self.start.checked_add(seconds * SECOND)?.checked_add(fraction)
    }

    #[cold]
    fn turn(&mut self, minute: &[u8; MINUTE]) -> Option<()> {
        // Other forms of a date are as long.
        if (minute[4], minute[7], minute[10], minute[13]) != (b'-', b'-', b'T', b':') {
            return None;
        }
        let text = format!("{}:00Z", std::str::from_utf8(minute).ok()?);
        self.start = i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok()?;
        self.minute = *minute;
        Some(())
    }
}

fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

/// Nanoseconds, and what follows the digits.
#[inline]
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let (mut nanoseconds, mut digits) = (0, 0);
    for byte in text.iter().take_while(|byte| byte.is_ascii_digit()).take(9) {
        nanoseconds = nanoseconds * 10 + i64::from(byte - b'0');
        digits += 1;
    }
    if digits == 0 {
        return None;
    }
    Some((nanoseconds * 10_i64.pow(9 - digits), text.get(digits as usize..)?))
}

/// In seconds.
fn offset(zone: &[u8]) -> Option<i64> {
    let [sign, tens @ b'0'..=b'1', hours, b':', ten_minutes @ b'0'..=b'5', minutes] = zone else { return None };
    let seconds = (digit(*tens)? * 10 + digit(*hours)?) * 3600 + (digit(*ten_minutes)? * 10 + digit(*minutes)?) * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Every `i64` is within the years that a [`Timestamp`] knows.
pub(crate) fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_jiff(text: &str) -> Option<i64> {
        text.parse::<Timestamp>().ok().and_then(|at| i64::try_from(at.as_nanosecond()).ok())
    }

    #[test]
    fn the_forms_of_the_runtimes_are_read() {
        let mut clock = Clock::default();
        for text in [
            "2026-11-20T20:29:51.313923474Z",
            "2026-11-20T20:29:51.3139Z",
            "2026-11-20T20:29:52Z",
            "2026-11-20T21:29:51.313923474+01:00",
            "2026-11-20T14:59:51.313923474-05:30",
            "2024-02-29T23:59:59.999999999Z",
            "2016-12-31T23:59:60Z",
            "1969-12-31T23:59:59.5Z",
            "2026-11-20 20:29:51Z",
        ] {
            assert_eq!(clock.read(text.as_bytes()), by_jiff(text), "{text}");
            assert!(by_jiff(text).is_some(), "{text}");
        }
        for text in
            ["", "yesterday", "2026-11-20T20:29:51", "2026-02-30T20:29:51Z", "2026-11-20T20:29:51.Z", "9999-01-01T00:00:00Z"]
        {
            assert_eq!(clock.read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_jiff_reads(
            at in any::<i64>(),
            digits in 0_u8..=9,
            cut in 0_usize..40,
            put in proptest::option::of("[-+0-9:.TZ ]{1,2}"),
        ) {
            let mut text = format!("{:.*}", usize::from(digits), timestamp(at));
            if let Some(put) = put {
                text.insert_str(cut.min(text.len()), &put);
            }
            prop_assert_eq!(Clock::default().read(text.as_bytes()), by_jiff(&text), "{}", text);
        }

        #[test]
        fn a_clock_that_was_used_before_reads_the_same(first in any::<i64>(), then in 0_i64..120_000_000_000) {
            let first = first.min(i64::MAX - then);
            let mut clock = Clock::default();
            for at in [first, first + then, first] {
                prop_assert_eq!(clock.read(timestamp(at).to_string().as_bytes()), Some(at));
            }
        }
    }
}
