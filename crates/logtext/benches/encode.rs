//! What encoding costs: `cargo bench -p jobmeter-logtext`. Throughput is of what the runtime wrote, on one core; beside it a
//! plain copy and the digest alone.

#![allow(clippy::unwrap_used, reason = "a benchmark may end in a panic")]

use std::{fmt::Write, hint::black_box, io::Write as _};

use divan::{Bencher, counter::BytesCount};
use jobmeter_logtext::{LogEncoder, SourceFormat};
use jobmeter_protocol::{Compression, LogFormat};
use ring::digest::{SHA256, digest};

const BYTES: usize = 32 * 1024 * 1024;
/// As the shipper reads.
const PIECE: usize = 256 * 1024;
/// Of content, without newline.
const LINES: [usize; 2] = [100, 1024];

fn main() {
    divan::main();
}

/// Text that compresses as logs do: words, and numbers that differ.
fn content(n: u64, bytes: usize, line: &mut String) {
    let (mut seed, end) = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15), line.len() + bytes);
    while line.len() < end {
        seed = seed.rotate_left(23).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        write!(line, "step={n} loss=0.{:05} worker-{} ", seed % 100_000, seed >> 40 & 0xf).unwrap();
    }
    line.truncate(end);
}

fn log(bytes: usize, docker: bool) -> Vec<u8> {
    let (mut log, mut line) = (Vec::with_capacity(BYTES + 2048), String::new());
    let mut n = 0;
    while log.len() < BYTES {
        n += 1;
        let stream = if n % 10 == 0 { "stderr" } else { "stdout" };
        let time = format!("2026-11-20T20:{:02}:{:02}.{:09}Z", n / 60_000 % 60, n / 1000 % 60, n * 999_983 % 1_000_000_000);
        line.clear();
        content(n, bytes, &mut line);
        if docker {
            writeln!(log, r#"{{"log":"{line}\n","stream":"{stream}","time":"{time}"}}"#).unwrap();
        } else {
            writeln!(log, "{time} {stream} F {line}").unwrap();
        }
    }
    log
}

fn encode(bencher: Bencher<'_, '_>, log: &[u8], format: LogFormat, compression: Compression) {
    bencher.counter(BytesCount::of_slice(log)).bench_local(|| {
        let mut encoder = LogEncoder::new(SourceFormat::Detect, format, compression, std::io::sink()).unwrap();
        let mut object = Vec::new();
        for piece in log.chunks(PIECE) {
            encoder.push(black_box(piece), &mut object).unwrap();
            object.clear();
        }
        encoder.finish(&mut object).unwrap().content.bytes
    });
}

#[divan::bench(args = LINES, sample_count = 5)]
fn cri_to_text(bencher: Bencher<'_, '_>, line: usize) {
    encode(bencher, &log(line, false), LogFormat::Text, Compression::None);
}

#[divan::bench(args = LINES, sample_count = 3)]
fn cri_to_text_zstd(bencher: Bencher<'_, '_>, line: usize) {
    encode(bencher, &log(line, false), LogFormat::Text, Compression::Zstd);
}

#[divan::bench(args = LINES, sample_count = 1)]
fn cri_to_text_gzip(bencher: Bencher<'_, '_>, line: usize) {
    encode(bencher, &log(line, false), LogFormat::Text, Compression::Gzip);
}

#[divan::bench(args = LINES, sample_count = 5)]
fn cri_as_it_is(bencher: Bencher<'_, '_>, line: usize) {
    encode(bencher, &log(line, false), LogFormat::Cri, Compression::None);
}

#[divan::bench(args = LINES, sample_count = 5)]
fn docker_to_text(bencher: Bencher<'_, '_>, line: usize) {
    encode(bencher, &log(line, true), LogFormat::Text, Compression::None);
}

#[divan::bench(args = LINES, sample_count = 5)]
fn baseline_copy(bencher: Bencher<'_, '_>, line: usize) {
    let log = log(line, false);
    let mut copy = Vec::with_capacity(log.len());
    bencher.counter(BytesCount::of_slice(&log)).bench_local(|| {
        copy.clear();
        copy.extend_from_slice(black_box(&log));
    });
}

#[divan::bench(args = LINES, sample_count = 5)]
fn baseline_sha256(bencher: Bencher<'_, '_>, line: usize) {
    let log = log(line, false);
    bencher.counter(BytesCount::of_slice(&log)).bench_local(|| digest(&SHA256, black_box(&log)));
}
