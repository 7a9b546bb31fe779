//! What a piece begins with: by that a compressed file is known again, and pieces are put in order.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;

use crate::logs::PieceForm;

/// Enough to tell two files apart: each line has its time, and no line of a runtime is longer than a quarter of this.
const HEAD: u64 = 64 * 1024;

/// The beginning, decompressed. Shorter than what is compared: all there is.
pub(super) fn head(path: &Path, form: PieceForm) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut head = Vec::new();
    match form {
        PieceForm::Plain => file.take(HEAD).read_to_end(&mut head)?,
        PieceForm::Gzip => MultiGzDecoder::new(file).take(HEAD).read_to_end(&mut head)?,
    };
    Ok(head)
}

/// Length of the content before compression, modulo 2³² (RFC 1952, ISIZE).
pub(super) fn length(path: &Path, form: PieceForm) -> io::Result<u32> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    match form {
        PieceForm::Plain => Ok(truncated(bytes)),
        PieceForm::Gzip if bytes < 4 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no gzip trailer")),
        PieceForm::Gzip => {
            let mut trailer = [0; 4];
            file.seek(SeekFrom::End(-4))?;
            file.read_exact(&mut trailer)?;
            Ok(u32::from_le_bytes(trailer))
        }
    }
}

/// By its first two bytes: no log line begins so.
pub(super) fn is_gzip(path: &Path) -> io::Result<bool> {
    let mut magic = Vec::new();
    File::open(path)?.take(2).read_to_end(&mut magic)?;
    Ok(magic == [0x1f, 0x8b])
}

pub(super) fn truncated(bytes: u64) -> u32 {
    u32::try_from(bytes & u64::from(u32::MAX)).unwrap_or_default()
}

/// Of the first line, as CRI and Docker's json-file have it.
pub(super) fn first_time(head: &[u8]) -> Option<Timestamp> {
    let line = head.split(|&byte| byte == b'\n').next()?;
    if line.starts_with(b"{") {
        let line: serde_json::Value = serde_json::from_slice(line).ok()?;
        return line.get("time")?.as_str()?.parse().ok();
    }
    let word = line.split(|&byte| byte == b' ').next()?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_its_time_in_either_form() {
        let cri = first_time(b"2026-11-21T10:00:00.000000001Z stdout F hello\n2026").unwrap();
        let docker =
            first_time(b"{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T10:00:00.000000001Z\"}\n").unwrap();
        assert_eq!(cri, docker);
        for other in [&b""[..], b"hello", b"{\"log\":", b"\xff\xfe"] {
            assert_eq!(first_time(other), None);
        }
    }
}
