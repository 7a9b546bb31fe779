//! A stored log as people want to read it: each line with its time in front, or only the lines since a moment.
//!
//! In: the decompressed content in pieces of any size, and the times of its lines: for text from its index ([`Text`]), for raw
//! lines from themselves ([`Lines`], which decodes them too). Out: appended to the caller's buffer.

use std::{convert::Infallible, io::Write};

use jiff::Timestamp;

use crate::{
    SourceFormat, Stream, clock,
    decode::{Decoder, Form},
    times::TimesError,
    to_newline,
    weave::Out,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Each line begins with its time and a blank, as `kubectl logs --timestamps` has it.
    pub timestamps: bool,
    /// Only lines of this moment or later.
    pub since: Option<Timestamp>,
}

impl View {
    /// The text as it is: no times are needed.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The beginning of a line; whether it is shown.
    fn begin(&self, at: Option<Timestamp>, out: &mut Vec<u8>) -> bool {
        // Nobody knows how old a line without a time is: it is shown.
        let shown = !matches!((at, self.since), (Some(at), Some(since)) if at < since);
        if let (true, true, Some(at)) = (shown, self.timestamps, at) {
            stamp(at, out);
        }
        shown
    }
}

/// RFC 3339 with nine digits of the second, and a blank.
fn stamp(at: Timestamp, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    write!(out, "{at:.9} ").unwrap_or_default();
}

/// Text with the entries of its index.
#[derive(Debug)]
pub struct Text<T> {
    view: View,
    times: T,
    line: u64,
    /// In the middle of a line, which is shown or not.
    within: Option<bool>,
}

impl<T: Iterator<Item = Result<(Timestamp, Stream), TimesError>>> Text<T> {
    /// `times`: [`crate::times::Times`] of the same log.
    pub fn new(view: View, times: T) -> Self {
        Self { view, times, line: 0, within: None }
    }

    pub fn push(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), TimesError> {
        let mut rest = text;
        while !rest.is_empty() {
            let (part, ended) = to_newline(rest);
            let shown = match self.within {
                Some(shown) => shown,
                None => self.begin(out)?,
            };
            if shown {
                out.extend_from_slice(part);
            }
            self.within = (!ended).then_some(shown);
            rest = rest.get(part.len()..).unwrap_or_default();
        }
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> Result<bool, TimesError> {
        self.line += 1;
        let (at, _) = self.times.next().ok_or(TimesError::TooFew(self.line))??;
        Ok(self.view.begin(Some(at), out))
    }
}

/// Lines as a runtime wrote them, decoded.
#[derive(Debug)]
pub struct Lines {
    decoder: Decoder<Shown>,
}

#[derive(Debug)]
struct Shown {
    view: View,
    within: Option<bool>,
    ready: Vec<u8>,
}

impl Out for Shown {
    type Error = Infallible;

    fn text(&mut self, at: Option<i64>, _stream: Option<Stream>, bytes: &[u8]) -> Result<(), Infallible> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (part, ended) = to_newline(rest);
            let begin = |ready: &mut Vec<u8>| self.view.begin(at.map(clock::timestamp), ready);
            let shown = self.within.unwrap_or_else(|| begin(&mut self.ready));
            if shown {
                self.ready.extend_from_slice(part);
            }
            self.within = (!ended).then_some(shown);
            rest = rest.get(part.len()..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Lines {
    pub fn new(view: View) -> Self {
        let shown = Shown { view, within: None, ready: Vec::new() };
        Self { decoder: Decoder::new(SourceFormat::Detect, Form::Text, shown) }
    }

    pub fn push(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let Ok(()) = self.decoder.push(raw);
        out.append(&mut self.decoder.weave.out.ready);
    }

    pub fn finish(self, out: &mut Vec<u8>) {
        let Ok((mut shown, ..)) = self.decoder.finish();
        out.append(&mut shown.ready);
    }
}
