//! A single `Range: bytes=…` (RFC 9110, section 14).

/// As it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    Between(u64, u64),
    From(u64),
    /// So many bytes at the end.
    Last(u64),
}

/// Nothing of it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsatisfiable;

impl Range {
    /// `None`: not a single range of bytes, which a server may ignore.
    pub fn parse(header: &str) -> Option<Self> {
        let spec = header.trim().strip_prefix("bytes=")?.trim();
        let (first, last) = spec.split_once('-')?;
        match (first.trim(), last.trim()) {
            ("", last) => last.parse().ok().map(Self::Last),
            (first, "") => first.parse().ok().map(Self::From),
            (first, last) => {
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// First and last byte of so many.
    pub fn of(self, total: u64) -> Result<(u64, u64), Unsatisfiable> {
        let (first, last) = match self {
            Self::Between(first, last) => (first, last),
            Self::From(first) => (first, u64::MAX),
            Self::Last(0) => return Err(Unsatisfiable),
            Self::Last(count) => (total.saturating_sub(count), u64::MAX),
        };
        if first < total { Ok((first, last.min(total - 1))) } else { Err(Unsatisfiable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        let of = |header: &str, total| Range::parse(header).map(|range| range.of(total));
        assert_eq!(of("bytes=0-4", 10), Some(Ok((0, 4))));
        assert_eq!(of("bytes=5-", 10), Some(Ok((5, 9))));
        assert_eq!(of("bytes=-3", 10), Some(Ok((7, 9))));
        assert_eq!(of("bytes=-30", 10), Some(Ok((0, 9))));
        assert_eq!(of("bytes=8-99", 10), Some(Ok((8, 9))));
        for nothing in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(of(nothing, 10), Some(Err(Unsatisfiable)), "{nothing}");
        }
        assert_eq!(of("bytes=-5", 0), Some(Err(Unsatisfiable)));
        for ignored in ["bytes=4-2", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=-"] {
            assert_eq!(of(ignored, 10), None, "{ignored}");
        }
    }
}
