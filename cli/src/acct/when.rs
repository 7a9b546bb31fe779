//! `--since` and `--until`: moments as people write them.

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    #[error("\"{0}\" is no moment: write 2h or 3d (ago), today, yesterday, 2026-11-20, 2026-11-20T17:00 or 2026-11-20T17:00:00Z")]
    Unclear(String),
    #[error("\"{0}\" is out of the range of times")]
    OutOfRange(String),
}

/// A duration means so long before now; a date and a time without zone are of the local time zone.
pub fn parse_when(text: &str, now: &Zoned) -> Result<Timestamp, WhenError> {
    let text = text.trim();
    let out_of_range = || WhenError::OutOfRange(text.to_owned());
    let local = |civil: DateTime| civil.to_zoned(now.time_zone().clone()).map(|at| at.timestamp()).map_err(|_| out_of_range());
    let day = |zoned: Zoned| zoned.start_of_day().map(|at| at.timestamp()).map_err(|_| out_of_range());

    match text.to_ascii_lowercase().as_str() {
        "now" => return Ok(now.timestamp()),
        "today" | "midnight" => return day(now.clone()),
        "yesterday" => return day(now.checked_sub(1.day()).map_err(|_| out_of_range())?),
        _ => {}
    }
    // sacct's own form: now-2hours.
    let duration = text.strip_prefix("now-").or(text.strip_suffix(" ago")).unwrap_or(text);
    if let Ok(duration) = humantime::parse_duration(duration) {
        let duration = SignedDuration::try_from(duration).map_err(|_| out_of_range())?;
        return now.timestamp().checked_sub(duration).map_err(|_| out_of_range());
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    // A date alone would also be read as a date and time; it is its first moment, which is not always 00:00.
    if let Ok(date) = text.parse::<Date>()
        && !text.contains(['T', 't', ':', ' '])
    {
        return date.to_zoned(now.time_zone().clone()).map(|at| at.timestamp()).map_err(|_| out_of_range());
    }
    text.parse::<DateTime>().map_err(|_| WhenError::Unclear(text.to_owned())).and_then(local)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Zoned {
        "2026-11-20T18:30:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    #[test]
    fn every_form_of_the_help_is_read() {
        let read = |text: &str| parse_when(text, &now()).unwrap().to_string();
        assert_eq!(read("2h"), "2026-11-20T15:30:00Z");
        assert_eq!(read("1h 30m"), "2026-11-20T16:00:00Z");
        assert_eq!(read("now-2hours"), "2026-11-20T15:30:00Z");
        assert_eq!(read("3d ago"), "2026-11-17T17:30:00Z");
        assert_eq!(read("today"), "2026-11-19T23:00:00Z");
        assert_eq!(read("Yesterday"), "2026-11-18T23:00:00Z");
        assert_eq!(read("2026-11-20"), "2026-11-19T23:00:00Z");
        assert_eq!(read("2026-11-20T17:00"), "2026-11-20T16:00:00Z");
        assert_eq!(read("2026-11-20 17:00:05"), "2026-11-20T16:00:05Z");
        assert_eq!(read("2026-11-20T17:00:00.5Z"), "2026-11-20T17:00:00.5Z");
        assert_eq!(read("2026-11-20T17:00:00-05:00"), "2026-11-20T22:00:00Z");
    }

    #[test]
    fn nonsense_is_answered_with_examples() {
        for text in ["", "2", "tomorrow week", "2026-13-40", "-2h"] {
            assert!(matches!(parse_when(text, &now()), Err(WhenError::Unclear(_))), "{text}");
        }
        assert!(matches!(parse_when("99999999y", &now()), Err(WhenError::OutOfRange(_))));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let now = now();
            prop_assert!(parse_when(&text, &now).is_ok() || parse_when(&text, &now).is_err());
        }
    }
}
