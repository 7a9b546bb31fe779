//! Where a page ended: the sort key of its last item and the UID that breaks ties. Opaque to clients, plain to read.
//!
//! ```text
//! finished.i1790000000000000000.0f5c7b46-…
//! ```

use std::fmt;
use std::str::FromStr;

use jobmeter_protocol::SortBy;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cursor {
    pub(super) sort: SortBy,
    pub(super) key: Key,
    pub(super) uid: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key {
    Integer(i64),
    /// As its bits: what comes back is what went out.
    Real(f64),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after: {text:?} is not the `next` of a page: {why}")]
pub struct CursorError {
    pub text: String,
    pub why: &'static str,
}

pub(super) const fn sort_name(sort: SortBy) -> &'static str {
    match sort {
        SortBy::Finished => "finished",
        SortBy::Started => "started",
        SortBy::Elapsed => "elapsed",
        SortBy::Cpu => "cpu",
        SortBy::Memory => "memory",
        SortBy::Rss => "rss",
        SortBy::Name => "name",
    }
}

const SORTS: [SortBy; 7] =
    [SortBy::Finished, SortBy::Started, SortBy::Elapsed, SortBy::Cpu, SortBy::Memory, SortBy::Rss, SortBy::Name];

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", sort_name(self.sort))?;
        match &self.key {
            Key::Integer(key) => write!(f, "i{key}")?,
            Key::Real(key) => write!(f, "r{:x}", key.to_bits())?,
            // In hexadecimal, so that no name can break the format or the URL.
            Key::Text(key) => {
                f.write_str("t")?;
                key.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            }
        }
        write!(f, ".{}", self.uid)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let error = |why| CursorError { text: text.to_owned(), why };
        let mut parts = text.splitn(3, '.');
        let (Some(sort), Some(key), Some(uid)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(error("it has not three parts"));
        };
        let sort = SORTS.into_iter().find(|known| sort_name(*known) == sort).ok_or_else(|| error("unknown sort order"))?;
        let key = match key.split_at_checked(1) {
            Some(("i", digits)) => digits.parse().ok().map(Key::Integer),
            Some(("r", bits)) => u64::from_str_radix(bits, 16).ok().map(f64::from_bits).map(Key::Real),
            Some(("t", hex)) => from_hex(hex).map(Key::Text),
            _ => None,
        };
        Ok(Self { sort, key: key.ok_or_else(|| error("its sort key is malformed"))?, uid: uid.to_owned() })
    }
}

impl Cursor {
    /// The key is of the kind that is sorted by: a database may refuse to compare any other.
    pub(super) const fn fits(&self) -> bool {
        match self.sort {
            SortBy::Finished | SortBy::Started | SortBy::Memory | SortBy::Rss => matches!(self.key, Key::Integer(_)),
            SortBy::Elapsed | SortBy::Cpu => matches!(self.key, Key::Real(_)),
            SortBy::Name => matches!(self.key, Key::Text(_)),
        }
    }
}

fn from_hex(hex: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> =
        hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    String::from_utf8(bytes.filter(|_| hex.len().is_multiple_of(2))?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Key> {
        prop_oneof![
            any::<i64>().prop_map(Key::Integer),
            any::<f64>().prop_filter("NaN is not equal to itself", |f| !f.is_nan()).prop_map(Key::Real),
            ".*".prop_map(Key::Text),
        ]
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_went_out(key in keys(), sort in 0..7_usize, uid in "[0-9a-f.-]{1,36}") {
            let cursor = Cursor { sort: SORTS[sort], key, uid };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*|(cpu|name)\\.[irt][0-9a-fé]*\\..*") {
            drop(text.parse::<Cursor>());
        }
    }
}
