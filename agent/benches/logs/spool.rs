//! A log as a container runtime writes it: lines of 100 bytes, 10 µs apart.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, ToSpan};

pub(crate) const NAME: &str = "0-1-1.log";
const LINE: usize = 100;

pub(crate) fn write(directory: &Path, bytes: u64) -> PathBuf {
    let path = directory.join(NAME);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).unwrap());
    let mut time: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut noise = 1_u64;
    for n in 0..bytes / LINE as u64 {
        time += 10_200.nanoseconds();
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let head = format!("{time:.9} stdout F step {n} loss {noise:016x} ");
        writeln!(file, "{head}{:.<width$}", "", width = LINE - 1 - head.len()).unwrap();
    }
    file.flush().unwrap();
    path
}
