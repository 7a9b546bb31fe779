//! The text of a job's log: what a runtime wrote → what the container wrote, with its size, its digest and its times.
//!
//! Input: the bytes of log files, in order, in pieces of any size. Output: the object to store, a time index, [`LogContent`].
//! No file and no network: who reads and who stores is elsewhere.

use jobmeter_protocol::{Compression, LogContent, LogFormat};

/// How the runtime wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceFormat {
    /// Found out from the first line: CRI or Docker's json-file.
    #[default]
    Detect,
    /// `<RFC 3339 time> stdout|stderr F|P <content>`.
    Cri,
    /// `{"log":"…\n","stream":"stdout","time":"…"}`.
    DockerJson,
    /// The container's own bytes: local jobs.
    Plain,
}

#[derive(Debug, thiserror::Error)]
#[error("failed to compress a log")]
pub struct EncodeError(#[from] pub std::io::Error);

/// Everything about the content but its times, which went to the writer that was given.
#[derive(Debug)]
pub struct Encoded<W> {
    pub content: LogContent,
    pub times: W,
    /// There is an index: the format is text, and at least one line had a time.
    pub has_times: bool,
}

/// Turns raw pieces into the object. Same input, same output, byte for byte.
#[derive(Debug)]
pub struct LogEncoder<W> {
    _times: W,
}

impl<W: std::io::Write> LogEncoder<W> {
    pub fn new(_source: SourceFormat, _format: LogFormat, _compression: Compression, _times: W) -> Result<Self, EncodeError> {
        unimplemented!("the room is being built")
    }

    /// Appends to `object` what is ready.
    pub fn push(&mut self, _raw: &[u8], _object: &mut Vec<u8>) -> Result<(), EncodeError> {
        unimplemented!("the room is being built")
    }

    /// The end of one file of several: a line that was cut off there does not run on into the next file.
    pub fn piece_ended(&mut self, _object: &mut Vec<u8>) -> Result<(), EncodeError> {
        unimplemented!("the room is being built")
    }

    pub fn finish(self, _object: &mut Vec<u8>) -> Result<Encoded<W>, EncodeError> {
        unimplemented!("the room is being built")
    }
}
