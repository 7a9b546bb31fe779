//! One log → one object. In: the raw bytes of its files, in order. Out: the object as it grows; at the end [`Encoded`].

use std::io::{self, Write};

use jobmeter_protocol::{Compression, LogContent, LogFormat};

use crate::{
    EncodeError, SourceFormat, Stream, clock,
    decode::{Decoder, Form},
    object::Object,
    times, to_newline,
    weave::Out,
};

/// Everything about the content but its times, which went to the writer that was given.
#[derive(Debug)]
pub struct Encoded<W> {
    pub content: LogContent,
    pub times: W,
    /// There is an index: the format is text, and at least one line had a time. Otherwise nothing was written to `times`.
    pub has_times: bool,
    /// Lines that stayed unfinished while the other stream wrote more than 1 MiB, which therefore stands in the middle of them.
    /// All bytes are there.
    pub interrupted_lines: u64,
}

/// Turns raw pieces into the object. Same input, same output, byte for byte, however the input is cut.
#[derive(Debug)]
pub struct LogEncoder<W> {
    decoder: Decoder<Content<W>>,
    format: LogFormat,
    compression: Compression,
}

/// What goes into the object, line by line.
#[derive(Debug)]
struct Content<W> {
    object: Object,
    times: times::Writer<W>,
    /// Newlines so far.
    newlines: u64,
    /// In the middle of a line.
    within: bool,
}

impl<W: Write> Out for Content<W> {
    type Error = io::Error;

    #[inline]
    fn text(&mut self, at: Option<i64>, stream: Option<Stream>, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if !self.within {
                self.times.line(at, stream)?;
            }
            let (part, ended) = to_newline(rest);
            self.newlines += u64::from(ended);
            self.within = !ended;
            rest = rest.get(part.len()..).unwrap_or_default();
        }
        self.object.write(bytes)
    }
}

impl<W: Write> LogEncoder<W> {
    pub fn new(source: SourceFormat, format: LogFormat, compression: Compression, times: W) -> Result<Self, EncodeError> {
        let form = match format {
            LogFormat::Text => Form::Text,
            LogFormat::Cri => Form::Raw,
        };
        let content =
            Content { object: Object::new(compression)?, times: times::Writer::new(times)?, newlines: 0, within: false };
        Ok(Self { decoder: Decoder::new(source, form, content), format, compression })
    }

    /// Appends to `object` what is ready.
    pub fn push(&mut self, raw: &[u8], object: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.decoder.push(raw)?;
        self.drain(object);
        Ok(())
    }

    /// The end of one file of several: a line that was cut off there does not run on into the next file.
    pub fn piece_ended(&mut self, object: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.decoder.piece_ended()?;
        self.drain(object);
        Ok(())
    }

    fn drain(&mut self, object: &mut Vec<u8>) {
        self.decoder.weave.out.object.drain(object);
    }

    pub fn finish(self, object: &mut Vec<u8>) -> Result<Encoded<W>, EncodeError> {
        let (content, seen, interrupted_lines) = self.decoder.finish()?;
        let (bytes, sha256) = content.object.finish(object)?;
        let (times, has_times) = content.times.finish()?;
        let content = LogContent {
            format: self.format,
            compression: self.compression,
            bytes,
            lines: content.newlines + u64::from(content.within),
            sha256,
            first: seen.first.map(clock::timestamp),
            last: seen.last.map(clock::timestamp),
            malformed_lines: seen.malformed,
            times: None,
            missing: Vec::new(),
        };
        Ok(Encoded { content, times, has_times, interrupted_lines })
    }
}
