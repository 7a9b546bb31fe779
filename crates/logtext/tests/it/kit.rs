//! Encodes in one go, and reads objects by the programs' own libraries.

use std::io::Read;

use jobmeter_logtext::{Encoded, LogEncoder, SourceFormat, times::Times};
use jobmeter_protocol::{Compression, LogFormat};

pub(crate) struct Done {
    pub(crate) object: Vec<u8>,
    pub(crate) encoded: Encoded<Vec<u8>>,
}

/// Each file in pieces of the given sizes, over and over.
pub(crate) fn encode(files: &[&[u8]], cuts: &[usize], source: SourceFormat, format: LogFormat, compression: Compression) -> Done {
    let mut encoder = LogEncoder::new(source, format, compression, Vec::new()).unwrap();
    let (mut object, mut cuts) = (Vec::new(), cuts.iter().cycle());
    for file in files {
        let mut rest = *file;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len())));
            encoder.push(piece, &mut object).unwrap();
            rest = after;
        }
        encoder.piece_ended(&mut object).unwrap();
    }
    let encoded = encoder.finish(&mut object).unwrap();
    Done { object, encoded }
}

/// As text, not compressed.
pub(crate) fn text(files: &[&[u8]], cuts: &[usize]) -> Done {
    encode(files, cuts, SourceFormat::Detect, LogFormat::Text, Compression::None)
}

impl Done {
    pub(crate) fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        match self.encoded.content.compression {
            Compression::None => content.clone_from(&self.object),
            Compression::Gzip => _ = flate2::read::GzDecoder::new(&self.object[..]).read_to_end(&mut content).unwrap(),
            Compression::Zstd => content = zstd::decode_all(&self.object[..]).unwrap(),
        }
        content
    }

    pub(crate) fn times(&self) -> Times<&[u8]> {
        Times::new(&self.encoded.times[..]).unwrap()
    }
}

pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
