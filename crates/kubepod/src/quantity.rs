//! Kubernetes quantities (`500m`, `1.5Gi`, `2e3`) as exact numbers. Input: text. Output: whole units, rounded up as
//! Kubernetes itself rounds. No floating point on the way: `0.1` is a tenth.

use std::str::FromStr;

/// As many as `u64` has. `10^20 × 2^60` (an `Ei`) still fits `u128`, so nothing below is rounded twice.
const MAX_DIGITS: usize = 20;
const MAX_EXPONENT: i32 = 1_000;

/// `digits × 10^exp10 × 2^exp2`. Negative quantities do not exist for resources and are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    digits: u128,
    exp10: i32,
    exp2: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantity is empty")]
    Empty,
    #[error("quantity {text:?} has no digits")]
    NoDigits { text: String },
    #[error("quantity {text:?} is negative")]
    Negative { text: String },
    #[error("quantity {text:?} has more than {MAX_DIGITS} digits")]
    TooLong { text: String },
    #[error("quantity {text:?} has an unknown suffix {suffix:?}")]
    UnknownSuffix { text: String, suffix: String },
}

impl Quantity {
    /// Whole units, rounded up; saturates.
    pub fn units(self) -> u64 {
        self.scaled(0)
    }

    /// Thousandths, rounded up: millicores of a CPU quantity; saturates.
    pub fn millis(self) -> u64 {
        self.scaled(3)
    }

    fn scaled(self, decimals: i32) -> u64 {
        if self.digits == 0 {
            return 0;
        }
        let exp10 = self.exp10.saturating_add(decimals);
        let shifted = self.digits.saturating_mul(1_u128 << self.exp2);
        if exp10 >= 0 {
            let factor = 10_u128.checked_pow(exp10.unsigned_abs());
            saturate(factor.and_then(|factor| shifted.checked_mul(factor)).unwrap_or(u128::MAX))
        } else {
            saturate(div_ceil_pow10(shifted, exp10))
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(QuantityError::Empty);
        }
        let unsigned = match text.as_bytes().first() {
            Some(b'-') => return Err(QuantityError::Negative { text: text.to_owned() }),
            Some(b'+') => &text[1..],
            _ => text,
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::NoDigits { text: text.to_owned() });
        }
        let unknown = || QuantityError::UnknownSuffix { text: text.to_owned(), suffix: suffix.to_owned() };
        if fraction.contains('.') {
            return Err(unknown());
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if whole.len() + fraction.len() > MAX_DIGITS {
            return Err(QuantityError::TooLong { text: text.to_owned() });
        }
        let digits = whole
            .bytes()
            .chain(fraction.bytes())
            .fold(0_u128, |value, digit| value * 10 + u128::from(digit.saturating_sub(b'0')));
        let (suffix10, exp2) = suffix_exponents(suffix).ok_or_else(unknown)?;
        let decimals = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
        Ok(Self { digits, exp10: suffix10 - decimals, exp2 })
    }
}

/// `(power of ten, power of two)` of a suffix.
fn suffix_exponents(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        // `1E` is an exa, `1E3` and `1e3` are thousands.
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-MAX_EXPONENT..=MAX_EXPONENT).contains(&exponent).then_some((exponent, 0))?
        }
    })
}

fn div_ceil_pow10(value: u128, exp10: i32) -> u128 {
    // A divisor that does not fit is larger than any value: the smallest quantity above zero rounds up to 1.
    10_u128.checked_pow(exp10.unsigned_abs()).map_or(1, |divisor| value.div_ceil(divisor))
}

fn saturate(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn quantities_mean_what_kubernetes_means_by_them() {
        for (text, units) in [
            ("0", 0),
            ("1", 1),
            ("+5", 5),
            ("1Ki", 1024),
            ("64Mi", 67_108_864),
            ("1.5Gi", 1_610_612_736),
            ("1M", 1_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("1E3", 1_000),
            ("2e3", 2_000),
            ("1e-1", 1),
            (".5", 1),
            ("5.", 5),
            ("100m", 1),
            ("128974848000m", 128_974_848),
            ("1Ei", 1 << 60),
        ] {
            assert_eq!(parsed(text).units(), units, "{text}");
        }
        for (text, millis) in
            [("500m", 500), ("0.1", 100), ("2", 2_000), ("1n", 1), ("1500u", 2), ("0.0005", 1), ("1k", 1_000_000)]
        {
            assert_eq!(parsed(text).millis(), millis, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_quantity_is_refused_with_its_text() {
        for text in ["", "m", "-1", "1.2.3", "1 Gi", "1KiB", "1e", "1e9999", "0x10", "١", "1_000"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                prop_assert!(quantity.millis() >= quantity.units());
            }
        }

        #[test]
        fn any_number_and_suffix_is_computed_without_panic(text in "[0-9]{0,30}(\\.[0-9]{0,20})?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,4})?") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                prop_assert!(quantity.millis() >= quantity.units());
            }
        }

        #[test]
        fn whole_numbers_survive(value in any::<u64>()) {
            prop_assert_eq!(parsed(&value.to_string()).units(), value);
        }

        #[test]
        fn binary_and_milli_suffixes_are_exact(value in 0_u64..1 << 40) {
            prop_assert_eq!(parsed(&format!("{value}Ki")).units(), value * 1024);
            prop_assert_eq!(parsed(&format!("{value}m")).millis(), value);
        }
    }
}
