//! Records of a log → its text: parts of a line are joined, and a line of one stream does not land in the middle of the other's.
//!
//! In: records in the order in which the runtime wrote them, their bytes in pieces of any size. Out: the same bytes, to an
//! [`Out`]. What comes while the other stream's line is unfinished is held back until that is finished, up to [`HELD`]; what is
//! more goes out where it is, in the middle of the line, and is counted. No byte is added, changed or left out.

use crate::Stream;

/// Bytes that may be held back.
pub(crate) const HELD: usize = 1024 * 1024;

/// What a record costs beside its bytes, so that many empty ones are bounded too.
const RECORD: usize = size_of::<Record>();

/// Whoever takes the text.
pub(crate) trait Out {
    type Error;

    /// `at` and `stream` are of the record that the bytes are from; `None` where it was in no known form.
    fn text(&mut self, at: Option<i64>, stream: Option<Stream>, bytes: &[u8]) -> Result<(), Self::Error>;
}

#[derive(Debug)]
pub(crate) struct Weave<O> {
    pub(crate) out: O,
    /// The stream whose line is unfinished in what went out.
    open: Option<Stream>,
    record: Record,
    /// `record` is being held back.
    waits: bool,
    held: Held,
    /// Lines that others were put into.
    pub(crate) interrupted: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    at: Option<i64>,
    stream: Option<Stream>,
    /// Where it begins among the held bytes.
    start: usize,
}

#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    records: Vec<Record>,
    /// The stream whose line is unfinished at their end.
    open: Option<Stream>,
}

impl Held {
    fn room(&self) -> usize {
        HELD.saturating_sub(self.bytes.len() + self.records.len() * RECORD)
    }
}

impl<O: Out> Weave<O> {
    pub(crate) fn new(out: O) -> Self {
        Self { out, open: None, record: Record::default(), waits: false, held: Held::default(), interrupted: 0 }
    }

    #[inline]
    pub(crate) fn begin(&mut self, at: Option<i64>, stream: Option<Stream>) -> Result<(), O::Error> {
        self.record = Record { at, stream, start: 0 };
        self.waits = self.open.is_some() && self.open != stream;
        if self.waits { self.hold() } else { Ok(()) }
    }

    fn hold(&mut self) -> Result<(), O::Error> {
        if self.held.room() < RECORD {
            return self.interrupt();
        }
        self.record.start = self.held.bytes.len();
        self.held.records.push(self.record);
        Ok(())
    }

    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), O::Error> {
        if self.waits { self.append_held(bytes) } else { self.out.text(self.record.at, self.record.stream, bytes) }
    }

    /// Filled to the last byte before it overflows, so that the size of the pieces makes no difference.
    fn append_held(&mut self, bytes: &[u8]) -> Result<(), O::Error> {
        let (fits, over) = bytes.split_at(bytes.len().min(self.held.room()));
        self.held.bytes.extend_from_slice(fits);
        if over.is_empty() {
            return Ok(());
        }
        self.interrupt()?;
        self.out.text(self.record.at, self.record.stream, over)
    }

    /// `finished`: so is its line.
    #[inline]
    pub(crate) fn end(&mut self, finished: bool) -> Result<(), O::Error> {
        let open = if self.waits { &mut self.held.open } else { &mut self.open };
        if self.record.stream.is_some() {
            *open = self.record.stream.filter(|_| !finished);
        }
        if self.open.is_none() && !self.held.records.is_empty() { self.release() } else { Ok(()) }
    }

    fn interrupt(&mut self) -> Result<(), O::Error> {
        self.interrupted += 1;
        self.waits = false;
        self.release()
    }

    fn release(&mut self) -> Result<(), O::Error> {
        let held = std::mem::take(&mut self.held);
        let ends = held.records.iter().skip(1).map(|next| next.start).chain([held.bytes.len()]);
        for (record, end) in held.records.iter().zip(ends) {
            self.out.text(record.at, record.stream, held.bytes.get(record.start..end).unwrap_or_default())?;
        }
        self.open = held.open;
        Ok(())
    }

    /// No more will come: what still waits goes out after the line that was never finished.
    pub(crate) fn finish(mut self) -> Result<(O, u64), O::Error> {
        self.release()?;
        Ok((self.out, self.interrupted))
    }
}
