//! From pieces to parts, on a thread that may block. In: a sealed log and the policy of its ticket. Out: [`Part`]s, over a
//! channel, and what is in them. The same log and policy give the same parts, so that after a crash they are recognised.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jobmeter_logtext::LogEncoder;
use jobmeter_protocol::{
    LogContent, Missing,
    logs::{Piece as PieceToPut, UploadPolicy},
};
use md5::{Digest, Md5};
use tokio::sync::mpsc;

use super::{
    buffers::Buffers,
    pieces::read_piece,
    times::{Times, TimesSink},
    trouble::Trouble,
};
use crate::logs::SealedLog;

/// S3 takes no more.
const MOST_PARTS: u32 = 10_000;

/// A piece of an object, ready to be put.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) piece: PieceToPut,
    pub(super) body: Bytes,
    pub(super) last: bool,
}

/// Cuts what is encoded into parts of equal size.
#[derive(Debug)]
pub(super) struct Cutter {
    buffers: Buffers,
    filling: Vec<u8>,
    number: u32,
    form: Form,
    parts: mpsc::Sender<Part>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// One piece of no more than this.
    Whole { most: usize },
    /// Parts of this size; one piece if there is no more than one.
    Parts { bytes: usize },
}

impl Cutter {
    pub(super) fn new(mut buffers: Buffers, form: Form) -> (Self, mpsc::Receiver<Part>) {
        // The buffers are what is scarce: the channel has room for as many as there can be.
        let (parts, receiver) = mpsc::channel(16);
        let filling = buffers.take();
        (Self { buffers, filling, number: 1, form, parts }, receiver)
    }

    /// Gives away what is more than a part.
    fn cut(&mut self) -> Result<(), Trouble> {
        let size = match self.form {
            Form::Whole { most } if self.filling.len() > most => return Err(Trouble::Larger),
            Form::Whole { .. } => return Ok(()),
            Form::Parts { bytes } => bytes,
        };
        while self.filling.len() > size {
            if self.number == MOST_PARTS {
                return Err(Trouble::TooManyParts { most: MOST_PARTS, part_bytes: size as u64 });
            }
            let mut next = self.buffers.take();
            next.extend_from_slice(self.filling.get(size..).unwrap_or_default());
            self.filling.truncate(size);
            let full = std::mem::replace(&mut self.filling, next);
            self.give(full, false)?;
            self.number += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Trouble> {
        self.cut()?;
        let rest = std::mem::take(&mut self.filling);
        self.give(rest, true)
    }

    fn give(&self, buffer: Vec<u8>, last: bool) -> Result<(), Trouble> {
        let md5 = STANDARD.encode(Md5::digest(&buffer));
        let piece = PieceToPut { number: self.number, bytes: buffer.len() as u64, md5 };
        let part = Part { piece, body: self.buffers.lend(buffer), last };
        // Nobody listens any more: the attempt was given up.
        self.parts.blocking_send(part).map_err(|_closed| Trouble::Stopped)
    }
}

pub(super) struct Source {
    pub(super) sealed: Arc<SealedLog>,
    pub(super) policy: UploadPolicy,
    /// The disk failed before: what it does not give is a hole.
    pub(super) skip_bad_disk: bool,
}

/// The log itself.
pub(super) fn encode(source: &Source, mut cutter: Cutter) -> Result<(LogContent, Times), Trouble> {
    let Source { sealed, policy, .. } = source;
    let sink = TimesSink::new(sealed.directory.join("ship.times"));
    let mut encoder = LogEncoder::new(sealed.source, policy.format, policy.compression, sink)?;
    let mut missing = sealed.missing.clone();
    for piece in &sealed.pieces {
        let read = read_piece(piece, &mut |bytes| {
            encoder.push(bytes, &mut cutter.filling)?;
            cutter.cut()
        });
        let hole = match read {
            Err(Trouble::Read { source: err, .. }) if source.skip_bad_disk => {
                Some(Missing { why: format!("the disk could not be read from some point on: {err}"), raw_bytes: None })
            }
            other => other?,
        };
        missing.extend(hole);
        encoder.piece_ended(&mut cutter.filling)?;
        cutter.cut()?;
    }
    let encoded = encoder.finish(&mut cutter.filling)?;
    cutter.finish()?;
    if encoded.interrupted_lines > 0 {
        let (log, lines) = (&sealed.log, encoded.interrupted_lines);
        tracing::warn!(?log, lines, "one stream's line was unfinished while the other wrote more than 1 MiB: they are mixed");
    }
    let mut content = encoded.content;
    content.missing.extend(missing);
    Ok((content, encoded.times.finish(encoded.has_times)))
}

/// A file as it is.
pub(super) fn send_file(path: &Path, mut cutter: Cutter) -> Result<(), Trouble> {
    let failed = |source| Trouble::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    loop {
        let read = file.by_ref().take(128 * 1024).read_to_end(&mut cutter.filling).map_err(failed)?;
        if read == 0 {
            return cutter.finish();
        }
        cutter.cut()?;
    }
}
