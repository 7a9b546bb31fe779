//! The text of a job's log: what a runtime wrote → what the container wrote, with its size, its digest and its times.
//!
//! Input: the bytes of log files, in order, in pieces of any size. Output: the object to store, a time index, [`LogContent`].
//! No file and no network: who reads and who stores is elsewhere.
//!
//! ```text
//! raw ─▶ decode (lines: cri, docker) ─▶ weave (parts joined, streams kept apart) ─▶ encoder ─▶ object (digest, compression)
//!                                                                             │         └───▶ times
//!                                                                             └──────▶ render (for people)
//! ```
//!
//! [`LogContent`]: jobmeter_protocol::LogContent

mod clock;
pub mod cri;
mod decode;
mod docker;
mod encoder;
mod object;
pub mod render;
pub mod times;
mod weave;

pub use encoder::{Encoded, LogEncoder};

/// How the runtime wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceFormat {
    /// Found out from the first line that is in a known form: CRI or Docker's json-file.
    #[default]
    Detect,
    /// `<RFC 3339 time> stdout|stderr F|P <content>`.
    Cri,
    /// `{"log":"…\n","stream":"stdout","time":"…"}`.
    DockerJson,
    /// The container's own bytes: local jobs.
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug, thiserror::Error)]
#[error("failed to compress a log")]
pub struct EncodeError(#[from] pub std::io::Error);

/// Up to the first newline and with it, and whether there is one.
fn to_newline(bytes: &[u8]) -> (&[u8], bool) {
    // The one way to the C library's memchr that needs neither a dependency nor unsafe code.
    let mut rest = bytes;
    match std::io::BufRead::skip_until(&mut rest, b'\n') {
        Ok(taken) => {
            let part = bytes.get(..taken).unwrap_or(bytes);
            (part, part.ends_with(b"\n"))
        }
        // A slice in memory never fails to read.
        Err(_) => (bytes, false),
    }
}
