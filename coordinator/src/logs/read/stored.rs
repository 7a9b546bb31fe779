//! A log out of the object store: decompressed, and with the times of its lines where they are asked for.
//!
//! Whatever is more than passing bytes on runs on a blocking thread, in step with whoever reads: a few chunks are in memory.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, Bytes};
use futures::StreamExt;
use jobmeter_logtext::render::{Lines, Text, View};
use jobmeter_logtext::times::Times;
use jobmeter_protocol::{Compression, LogFormat, LogRead};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{LogText, Range, ReadError};
use crate::logs::times_key;
use crate::objects::{ByteRange, ByteStream, ObjectError, Objects};
use crate::store::logs::LogRow;

const CHUNK: usize = 64 * 1024;
/// Chunks that wait for whoever reads.
const AHEAD: usize = 4;
/// Ours are written with 2 MiB; more would be memory that somebody else asks for.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const NO_TIMES: &str = "the runtime noted no times: all lines are shown as they are";

pub(super) async fn open(objects: &Objects, row: LogRow, query: &LogRead, range: Option<Range>) -> Result<LogText, ReadError> {
    let state = row.state.as_str();
    let Some(content) = row.content.clone() else { return Err(ReadError::Vanished { key: row.key }) };
    let view = View { timestamps: query.timestamps, since: query.since };
    let has_times = content.format == LogFormat::Cri || content.times.is_some() || row.times_bytes.is_some();
    let (view, notice) = if view.is_plain() || has_times { (view, None) } else { (View::default(), Some(NO_TIMES)) };
    let total = view.is_plain().then_some(content.bytes);
    let range = match (range, total) {
        (Some(range), Some(total)) => Some(range.of(total).map_err(|_| ReadError::Range { total })?),
        _ => None,
    };
    let body = match (content.compression, view.is_plain()) {
        (Compression::None, true) => {
            get(objects, &row.key, range.map(|(first, last)| ByteRange { first, last: Some(last) })).await?
        }
        (compression, plain) => {
            let times: Option<Source> = match (&content.times, row.times_bytes) {
                _ if plain || content.format == LogFormat::Cri => None,
                (Some(inline), _) => Some(Source::Memory(BASE64_STANDARD.decode(inline).unwrap_or_default())),
                (None, _) => Some(Source::Object(get(objects, &times_key(&row.key), None).await?)),
            };
            let object = get(objects, &row.key, None).await?;
            let job = Job { key: row.key.clone(), compression, format: content.format, view, times, range };
            run(job, object)
        }
    };
    Ok(LogText {
        log: row.log,
        state,
        location: Some(row.location),
        total,
        range,
        sha256: total.map(|_| content.sha256),
        notice,
        body,
    })
}

async fn get(objects: &Objects, key: &str, range: Option<ByteRange>) -> Result<ByteStream, ReadError> {
    match objects.get(key, range).await {
        Err(ObjectError::NotFound { key }) => Err(ReadError::Vanished { key }),
        got => got.map_err(ReadError::from),
    }
}

enum Source {
    Memory(Vec<u8>),
    Object(ByteStream),
}

struct Job {
    key: String,
    compression: Compression,
    format: LogFormat,
    view: View,
    times: Option<Source>,
    range: Option<(u64, u64)>,
}

/// The thread ends when the stream is dropped, with its next chunk. A thread that died is an error, not an end.
fn run(job: Job, object: ByteStream) -> ByteStream {
    let (send, chunks) = mpsc::channel::<Result<Bytes, ObjectError>>(AHEAD);
    let runtime = Handle::current();
    let key = job.key.clone();
    let thread = tokio::task::spawn_blocking(move || {
        let key = job.key.clone();
        if let Err(err) = job.work(object, &runtime, &send) {
            let err = ObjectError::Failed { action: "read", key, source: Box::new(err) };
            // Whoever hung up does not want to know.
            drop(send.blocking_send(Err(err)));
        }
    });
    futures::stream::unfold(Some((chunks, thread)), move |state| {
        let key = key.clone();
        async move {
            let (mut chunks, thread) = state?;
            match chunks.recv().await {
                Some(chunk) => Some((chunk, Some((chunks, thread)))),
                None => match thread.await {
                    Ok(()) => None,
                    Err(err) => Some((Err(ObjectError::Failed { action: "read", key, source: Box::new(err) }), None)),
                },
            }
        }
    })
    .boxed()
}

impl Job {
    fn work(self, object: ByteStream, runtime: &Handle, send: &mpsc::Sender<Result<Bytes, ObjectError>>) -> io::Result<()> {
        let mut content = decompressed(self.compression, Blocking::new(object, runtime))?;
        let mut shape = Shape::new(self.format, self.view, self.times, runtime)?;
        let (mut skip, mut left) = self.range.map_or((0, u64::MAX), |(first, last)| (first, last - first + 1));
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = content.read(&mut buffer)?;
            let ended = read == 0;
            let mut out = Vec::with_capacity(read);
            match ended {
                false => shape.push(buffer.get(..read).unwrap_or_default(), &mut out)?,
                true => shape.finish(&mut out),
            }
            let mut out = Bytes::from(out);
            let skipped = skip.min(out.len() as u64);
            skip -= skipped;
            out.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
            out.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= out.len() as u64;
            if !out.is_empty() && send.blocking_send(Ok(out)).is_err() {
                return Ok(());
            }
            if ended || left == 0 {
                return Ok(());
            }
        }
    }
}

/// How the content is shown.
enum Shape {
    Plain,
    Text(Text<Times<Box<dyn BufRead>>>),
    Lines(Option<Lines>),
}

impl Shape {
    fn new(format: LogFormat, view: View, times: Option<Source>, runtime: &Handle) -> io::Result<Self> {
        let times: Box<dyn BufRead> = match times {
            _ if view.is_plain() => return Ok(Self::Plain),
            _ if format == LogFormat::Cri => return Ok(Self::Lines(Some(Lines::new(view)))),
            None => return Err(io::Error::other("there is no index of its times")),
            Some(Source::Memory(index)) => Box::new(Cursor::new(index)),
            Some(Source::Object(index)) => Box::new(BufReader::new(Blocking::new(index, runtime))),
        };
        Ok(Self::Text(Text::new(view, Times::new(times).map_err(io::Error::other)?)))
    }

    fn push(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Plain => out.extend_from_slice(content),
            Self::Text(text) => text.push(content, out).map_err(io::Error::other)?,
            Self::Lines(lines) => lines.iter_mut().for_each(|lines| lines.push(content, out)),
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Self::Lines(lines) = self
            && let Some(lines) = lines.take()
        {
            lines.finish(out);
        }
    }
}

fn decompressed(compression: Compression, object: Blocking) -> io::Result<Box<dyn Read>> {
    Ok(match compression {
        Compression::None => Box::new(object),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(object)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(object)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// A stream read from a thread that may wait.
struct Blocking {
    stream: ByteStream,
    runtime: Handle,
    chunk: Bytes,
}

impl Blocking {
    fn new(stream: ByteStream, runtime: &Handle) -> Self {
        Self { stream, runtime: runtime.clone(), chunk: Bytes::new() }
    }
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len());
        self.chunk.split_to(count).copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}
