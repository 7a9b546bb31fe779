//! Sizes as Kubernetes writes them: `64Mi`, `1G`, `1.5Gi`, plain bytes. Text in, bytes out, and back without loss.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanSize(pub u64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("`{0}` is no size: write it like `64Mi`, `1G` or as plain bytes")]
    Malformed(String),
    #[error("`{unit}` is no unit of size: use Ki, Mi, Gi, Ti, Pi, Ei or k, M, G, T, P, E")]
    UnknownUnit { unit: String },
    #[error("`{0}` is not a whole number of bytes")]
    Fraction(String),
    #[error("`{0}` is more than 2^64 bytes")]
    TooLarge(String),
}

const BINARY: [(&str, u64); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, u64); 6] = [
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl HumanSize {
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for HumanSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(SizeError::Malformed(text.to_owned()));
        }
        let multiple = match unit {
            "" => 1,
            // Kubernetes writes a small k only, but there is nothing else that `K` could mean.
            "K" => 1_000,
            unit => match BINARY.iter().chain(&DECIMAL).find(|(name, _)| *name == unit) {
                Some((_, multiple)) => *multiple,
                None => return Err(SizeError::UnknownUnit { unit: unit.to_owned() }),
            },
        };
        let whole: u64 = whole.parse().map_err(|_| SizeError::TooLarge(text.to_owned()))?;
        let fraction = fraction.trim_end_matches('0');
        // 10^18 is the largest unit: more digits leave a fraction of a byte, save for multiples of 2^-60.
        if fraction.len() > 18 {
            return Err(SizeError::Fraction(text.to_owned()));
        }
        let denominator = 10_u128.pow(fraction.len() as u32);
        let numerator = u128::from(multiple) * fraction.parse::<u128>().unwrap_or(0);
        if !numerator.is_multiple_of(denominator) {
            return Err(SizeError::Fraction(text.to_owned()));
        }
        let bytes = u128::from(whole) * u128::from(multiple) + numerator / denominator;
        u64::try_from(bytes).map(Self).map_err(|_| SizeError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for HumanSize {
    /// The largest unit that loses nothing; `1000Mi` rather than a count of bytes, `1M` rather than `1000k`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, multiple): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*multiple);
        match BINARY.iter().find(exact).or_else(|| DECIMAL.iter().find(exact)) {
            Some((unit, multiple)) => write!(f, "{}{unit}", self.0 / multiple),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for HumanSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrBytes)
    }
}

struct TextOrBytes;

impl de::Visitor<'_> for TextOrBytes {
    type Value = HumanSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size like `64Mi`, `1G` or plain bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanSize, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<HumanSize, E> {
        Ok(HumanSize(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<HumanSize, E> {
        u64::try_from(bytes).map(HumanSize).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64Mi", 64 << 20), ("1G", 1_000_000_000), ("1.5Gi", 3 << 29), ("2k", 2000), ("2K", 2000)]
        {
            assert_eq!(text.parse(), Ok(HumanSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "is no size"),
            ("Mi", "is no size"),
            ("-1", "is no size"),
            ("1.2.3M", "is no size"),
            ("64MB", "`MB` is no unit"),
            ("500m", "`m` is no unit"),
            ("64 Mi", "` Mi` is no unit"),
            ("1.5", "not a whole number of bytes"),
            ("16Ei", "more than 2^64"),
            ("99999999999999999999", "more than 2^64"),
        ] {
            let error = text.parse::<HumanSize>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_loses_nothing() {
        for (bytes, text) in [(0, "0"), (1, "1"), (64 << 20, "64Mi"), (1_000_000, "1M"), (1_000, "1k"), (1_000 << 20, "1000Mi")] {
            assert_eq!(HumanSize(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn every_size_survives_being_written_and_read(bytes in any::<u64>(), zeros in 0_u32..64) {
            let size = HumanSize(bytes >> zeros << zeros);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_panics(text in "[0-9.]{0,30}(Ki|Mi|Ei|k|M|E|x|.*)?") {
            if let Ok(size) = text.parse::<HumanSize>() {
                prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
        }
    }
}
