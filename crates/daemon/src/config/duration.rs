//! Durations as people and Go write them: `10s`, `1h30m`, `250ms`. Text in, `Duration` out, and back without loss.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HumanDuration(pub Duration);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("`{0}` is no duration: write it like `10s`, `1h30m` or `250ms`")]
    Malformed(String),
    #[error("`{0}` has no unit: write it like `10s`, `1h30m` or `250ms`")]
    NoUnit(String),
    #[error("`{unit}` is no unit of time: use d, h, m, s, ms, us or ns")]
    UnknownUnit { unit: String },
    #[error("`{0}` has its units out of order: the largest comes first, each once")]
    OutOfOrder(String),
    #[error("`{0}` is finer than a nanosecond")]
    TooFine(String),
    #[error("`{0}` is too long")]
    TooLong(String),
}

/// Largest first, in nanoseconds. Go has no `d`; retention is written in days.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl HumanDuration {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for HumanDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let mut rest = text;
        let mut nanoseconds: u128 = 0;
        let mut units_left = UNITS.as_slice();
        loop {
            let (number, after) = split_where(rest, |c| !c.is_ascii_digit() && c != '.');
            let (unit, after) = split_where(after, |c| c.is_ascii_digit() || c == '.');
            if number.is_empty() {
                return Err(DurationError::Malformed(text.to_owned()));
            }
            if unit.is_empty() {
                return Err(DurationError::NoUnit(text.to_owned()));
            }
            let canonical = if unit == "µs" || unit == "μs" { "us" } else { unit };
            let Some(known) = UNITS.iter().find(|(name, _)| *name == canonical) else {
                return Err(DurationError::UnknownUnit { unit: unit.to_owned() });
            };
            let Some(place) = units_left.iter().position(|left| left == known) else {
                return Err(DurationError::OutOfOrder(text.to_owned()));
            };
            units_left = &units_left[place + 1..];
            nanoseconds =
                nanoseconds.checked_add(times(number, known.1, text)?).ok_or_else(|| DurationError::TooLong(text.to_owned()))?;
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let seconds = u64::try_from(nanoseconds / 1_000_000_000).map_err(|_| DurationError::TooLong(text.to_owned()))?;
        Ok(Self(Duration::new(seconds, (nanoseconds % 1_000_000_000) as u32)))
    }
}

/// `number` (decimal digits, at most one point) of a unit, exactly.
fn times(number: &str, unit: u128, text: &str) -> Result<u128, DurationError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(DurationError::Malformed(text.to_owned()));
    }
    let whole: u64 = whole.parse().map_err(|_| DurationError::TooLong(text.to_owned()))?;
    let fraction = fraction.trim_end_matches('0');
    // No fraction of a day with more digits than this is a whole number of nanoseconds.
    if fraction.len() > 18 {
        return Err(DurationError::TooFine(text.to_owned()));
    }
    let denominator = 10_u128.pow(fraction.len() as u32);
    let numerator = unit * fraction.parse::<u128>().unwrap_or(0);
    if !numerator.is_multiple_of(denominator) {
        return Err(DurationError::TooFine(text.to_owned()));
    }
    Ok(u128::from(whole) * unit + numerator / denominator)
}

fn split_where(text: &str, at: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(at).unwrap_or(text.len()))
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, unit) in UNITS {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for HumanDuration {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, DurationError> {
        text.parse()
    }
}

impl From<HumanDuration> for String {
    fn from(duration: HumanDuration) -> Self {
        duration.to_string()
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_and_go_write_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("10s", 10_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("250ms", 250_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1.000000001s", 1_000_000_001),
            ("0.5d", 43_200_000_000_000),
            ("3µs7ns", 3_007),
        ] {
            let read: HumanDuration = text.parse().unwrap();
            assert_eq!(read.get().as_nanos(), nanoseconds, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "is no duration"),
            ("s", "is no duration"),
            ("-1s", "is no duration"),
            ("1..5s", "is no duration"),
            ("10", "has no unit"),
            ("1h30", "has no unit"),
            ("10 s", "` s` is no unit"),
            ("5 minutes", "is no unit"),
            ("30m1h", "out of order"),
            ("1s1s", "out of order"),
            ("0.5ns", "finer than a nanosecond"),
            ("0.0000000000000000000001d", "finer than a nanosecond"),
            ("999999999999999999999s", "too long"),
            ("18446744073709551615d", "too long"),
        ] {
            let error = text.parse::<HumanDuration>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_survives_being_written_and_read(seconds in any::<u64>(), nanoseconds in 0_u32..1_000_000_000) {
            let duration = HumanDuration(Duration::new(seconds, nanoseconds));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[0-9.]{0,25}(d|h|m|s|ms|us|µs|ns|x)?[0-9.]{0,25}(d|s|.*)?") {
            if let Ok(duration) = text.parse::<HumanDuration>() {
                prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            }
        }
    }
}
