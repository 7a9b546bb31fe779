//! Whole logs, CRI and Docker's: the object must not tell how the input was cut, and each of its lines has its time.

#![no_main]

use jobmeter_logtext::{LogEncoder, SourceFormat, times::Times};
use jobmeter_protocol::{Compression, LogContent, LogFormat};
use libfuzzer_sys::fuzz_target;

fn encode(raw: &[u8], cut: usize, source: SourceFormat, format: LogFormat) -> (Vec<u8>, LogContent, Vec<u8>) {
    let mut encoder = LogEncoder::new(source, format, Compression::None, Vec::new()).unwrap();
    let mut object = Vec::new();
    for piece in raw.chunks(cut) {
        encoder.push(piece, &mut object).unwrap();
    }
    let encoded = encoder.finish(&mut object).unwrap();
    assert_eq!(encoded.content.bytes, object.len() as u64);
    (object, encoded.content, encoded.times)
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (cut, source, raw) = input;
    let source = match source % 4 {
        0 => SourceFormat::Cri,
        1 => SourceFormat::DockerJson,
        2 => SourceFormat::Plain,
        _ => SourceFormat::Detect,
    };
    for format in [LogFormat::Text, LogFormat::Cri] {
        let whole = encode(raw, usize::MAX, source, format);
        let pieces = encode(raw, usize::from(cut).max(1), source, format);
        assert_eq!(whole, pieces);
        if format == LogFormat::Cri || source == SourceFormat::Plain {
            assert_eq!(whole.0, raw);
        }
        if !whole.2.is_empty() {
            assert_eq!(Times::new(&whole.2[..]).unwrap().map(Result::unwrap).count() as u64, whole.1.lines);
        }
    }
});
