//! Reads kernel files into buffers that are kept, and tells "not there" from "failed".

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use nix::errno::Errno;

use crate::{ReadError, error::Malformed};

/// Replaces the contents of `buffer` with those of the file. `false`: the kernel has no such file, or the cgroup or process
/// behind it is gone.
pub(crate) fn read(path: &Path, buffer: &mut Vec<u8>) -> Result<bool, ReadError> {
    buffer.clear();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) => return absent(path, source),
    };
    match fill(file, buffer) {
        Ok(()) => Ok(true),
        Err(source) => absent(path, source),
    }
}

/// As [`read`], parsed.
pub(crate) fn parse<T>(
    path: &Path,
    buffer: &mut Vec<u8>,
    parser: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<Option<T>, ReadError> {
    if !read(path, buffer)? {
        return Ok(None);
    }
    parser(buffer).map(Some).map_err(|malformed| malformed.at(path))
}

/// A file that must be there, as text without the newline at its end.
pub(crate) fn text(path: &Path) -> Result<String, ReadError> {
    let text = fs::read_to_string(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    Ok(text.trim_end().to_owned())
}

/// `ENODEV` comes from a descriptor whose cgroup was removed, `ESRCH` from one whose process ended, `EOPNOTSUPP` from
/// pressure files while pressure is not counted.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::ENOENT | Errno::ENODEV | Errno::ESRCH | Errno::ENOTDIR | Errno::EOPNOTSUPP))
}

fn absent(path: &Path, source: io::Error) -> Result<bool, ReadError> {
    if is_absent(&source) { Ok(false) } else { Err(ReadError::Io { path: path.to_owned(), source }) }
}

/// `read_to_end` asks for the size first, which kernel files do not know; this saves two calls for each file.
fn fill(mut file: File, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut end = 0;
    loop {
        if buffer.len() < end + 4096 {
            buffer.resize(end + 4096, 0);
        }
        match file.read(&mut buffer[end..]) {
            Ok(0) => break,
            Ok(read) => end += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(end);
    Ok(())
}
