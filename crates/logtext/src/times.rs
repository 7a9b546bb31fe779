//! The times of a log's lines, beside its text: one entry for each line of the text, in order.
//!
//! A zstd frame of: the version (one byte), the base (varint, zigzag: nanoseconds since 1970 of the first entry), then for each
//! line the difference to the one before in nanoseconds (zigzag), in groups of bits from the lowest: six in the first byte,
//! whose bit 6 tells the stream (1: stderr), seven in each that follows; bit 7: another byte follows.
//! A line that had no time of its own has that of the one before it, or of the first that had one.

use std::io::{self, BufRead, Read, Write};

use jiff::Timestamp;

use crate::{Stream, clock};

const VERSION: u8 = 1;
const LEVEL: i32 = 3;
const BLOCK: usize = 32 * 1024;
/// Nearby differences are alike, far ones are not: 128 KiB are enough, and cheap.
const WINDOW_LOG: u32 = 17;

pub(crate) struct Writer<W> {
    to: W,
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    /// Entries that are not compressed yet.
    block: Vec<u8>,
    /// The time of the line before; `None` while no line had one.
    last: Option<i64>,
    /// So many lines were before the first time.
    untimed: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(to: W) -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        encoder.window_log(WINDOW_LOG)?;
        Ok(Self { to, encoder, block: Vec::new(), last: None, untimed: 0 })
    }

    #[inline]
    pub(crate) fn line(&mut self, at: Option<i64>, stream: Option<Stream>) -> io::Result<()> {
        let last = match (self.last, at) {
            (Some(last), _) => last,
            (None, Some(base)) => self.begin(base)?,
            (None, None) => {
                self.untimed += 1;
                return Ok(());
            }
        };
        let at = at.unwrap_or(last);
        put(&mut self.block, zigzag(at.wrapping_sub(last)), stream);
        self.last = Some(at);
        if self.block.len() < BLOCK { Ok(()) } else { self.pass_on() }
    }

    /// The lines before the first time take it. There may be many.
    #[cold]
    fn begin(&mut self, base: i64) -> io::Result<i64> {
        self.block.push(VERSION);
        varint(&mut self.block, zigzag(base));
        for _ in 0..self.untimed {
            put(&mut self.block, 0, None);
            if self.block.len() >= BLOCK {
                self.pass_on()?;
            }
        }
        Ok(base)
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.encoder.write_all(&self.block)?;
        self.block.clear();
        let ready = self.encoder.get_mut();
        self.to.write_all(ready)?;
        ready.clear();
        Ok(())
    }

    /// And whether there was a time at all: where not, nothing was written.
    pub(crate) fn finish(mut self) -> io::Result<(W, bool)> {
        if self.last.is_none() {
            return Ok((self.to, false));
        }
        self.pass_on()?;
        self.to.write_all(&self.encoder.finish()?)?;
        Ok((self.to, true))
    }
}

impl<W> std::fmt::Debug for Writer<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").finish_non_exhaustive()
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[inline]
fn put(block: &mut Vec<u8>, number: u64, stream: Option<Stream>) {
    let tag = if stream == Some(Stream::Stderr) { 0x40 } else { 0 };
    let low = (number & 0x3f) as u8 | tag;
    if number < 0x40 {
        block.push(low);
    } else {
        block.push(low | 0x80);
        varint(block, number >> 6);
    }
}

#[inline]
fn varint(block: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        block.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    block.push(number as u8);
}

#[derive(Debug, thiserror::Error)]
pub enum TimesError {
    #[error("failed to read the times of a log")]
    Read(#[from] io::Error),
    #[error("the times of a log are of version {0}, which is not known here")]
    Version(u8),
    #[error("malformed times of a log: {0}")]
    Malformed(&'static str),
    #[error("the times of a log end before its line {0}")]
    TooFew(u64),
}

/// The entries of an index, one for each line of the text.
pub struct Times<R: BufRead> {
    from: io::BufReader<zstd::stream::read::Decoder<'static, R>>,
    last: i64,
    ended: bool,
}

impl<R: BufRead> Times<R> {
    pub fn new(index: R) -> Result<Self, TimesError> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(index)?;
        // What was not written here must not take more memory than what was.
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        let mut times = Self { from: io::BufReader::with_capacity(BLOCK, decoder), last: 0, ended: false };
        match times.byte()? {
            Some(VERSION) => {}
            Some(version) => return Err(TimesError::Version(version)),
            None => return Err(TimesError::Malformed("it is empty")),
        }
        times.last = unzigzag(times.rest(0, 0)?);
        Ok(times)
    }

    fn byte(&mut self) -> Result<Option<u8>, TimesError> {
        let mut byte = [0];
        match self.from.read(&mut byte)? {
            0 => Ok(None),
            _ => Ok(Some(byte[0])),
        }
    }

    /// Seven bits a byte, above the `shift` that `number` has already.
    fn rest(&mut self, mut number: u64, mut shift: u32) -> Result<u64, TimesError> {
        loop {
            let byte = self.byte()?.ok_or(TimesError::Malformed("a number is cut off"))?;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (bits << shift) >> shift != bits {
                return Err(TimesError::Malformed("a number is too long"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    fn entry(&mut self) -> Result<Option<(Timestamp, Stream)>, TimesError> {
        let Some(first) = self.byte()? else { return Ok(None) };
        let stream = if first & 0x40 == 0 { Stream::Stdout } else { Stream::Stderr };
        let low = u64::from(first & 0x3f);
        let number = if first & 0x80 == 0 { low } else { self.rest(low, 6)? };
        self.last = self.last.wrapping_add(unzigzag(number));
        Ok(Some((clock::timestamp(self.last), stream)))
    }
}

const ZSTD_WINDOW_LOG_MAX: u32 = 23;

impl<R: BufRead> Iterator for Times<R> {
    type Item = Result<(Timestamp, Stream), TimesError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.entry();
        self.ended = !matches!(entry, Ok(Some(_)));
        entry.transpose()
    }
}

impl<R: BufRead> std::fmt::Debug for Times<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Times").field("last", &self.last).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streams() -> impl Strategy<Value = Stream> {
        prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)]
    }

    fn write(entries: &[(Option<i64>, Option<Stream>)]) -> (Vec<u8>, bool) {
        let mut writer = Writer::new(Vec::new()).unwrap();
        for (at, stream) in entries {
            writer.line(*at, *stream).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(index: &[u8]) -> Vec<(i64, Stream)> {
        Times::new(index).unwrap().map(|entry| entry.map(|(at, stream)| (at.as_nanosecond() as i64, stream)).unwrap()).collect()
    }

    #[test]
    fn a_line_without_a_time_has_that_of_its_neighbour() {
        let (out, err) = (Some(Stream::Stdout), Some(Stream::Stderr));
        let (index, _) = write(&[(None, None), (None, None), (Some(7), err), (None, None), (Some(5), out)]);
        let expected = [(7, Stream::Stdout), (7, Stream::Stdout), (7, Stream::Stderr), (7, Stream::Stdout), (5, Stream::Stdout)];
        assert_eq!(read(&index), expected);
    }

    #[test]
    fn without_any_time_there_is_no_index() {
        assert_eq!(write(&[(None, None), (None, None)]), (Vec::new(), false));
    }

    #[test]
    fn an_index_that_is_not_one_is_refused() {
        assert!(Times::new(&b"no zstd frame"[..]).is_err());
        let frame = |content: &[u8]| zstd::encode_all(content, 3).unwrap();
        assert!(matches!(Times::new(&frame(&[9, 0])[..]), Err(TimesError::Version(9))));
        assert!(matches!(Times::new(&frame(&[])[..]), Err(TimesError::Malformed(_))));
        let cut = frame(&[VERSION, 0, 0x80]);
        let mut cut = Times::new(&cut[..]).unwrap();
        assert!(matches!(cut.next(), Some(Err(TimesError::Malformed(_)))) && cut.next().is_none());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(entries in proptest::collection::vec((any::<i64>(), streams()), 1..200)) {
            let (index, has_times) = write(&entries.iter().map(|(at, stream)| (Some(*at), Some(*stream))).collect::<Vec<_>>());
            prop_assert!(has_times);
            prop_assert_eq!(read(&index), entries);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let frame = zstd::encode_all(&[&[VERSION], &bytes[..]].concat()[..], 1).unwrap();
            if let Ok(times) = Times::new(&frame[..]) {
                prop_assert!(times.count() <= bytes.len());
            }
        }
    }
}
