//! Several logs at once, line by line as they are written. In: logs. Out: `[pod/container] line`, never parts of two in one.

use std::io::Write;

use axum::body::Bytes;
use futures::{StreamExt, TryFutureExt, stream};
use tokio::sync::mpsc;

use super::pick::Picked;
use super::read::{NotRead, Reading};
use super::tell;
use crate::source::SourceError;

/// Connections that are open at once. More logs than that begin when others have ended.
const AT_ONCE: usize = 100;
/// Blocks of lines that wait for stdout.
const BLOCKS: usize = 16;
/// A longer line is broken: it would have to be held until its end.
const LINE: usize = 64 * 1024;

/// Whether all of them could be shown.
pub(super) async fn merged(reading: &Reading<'_>, logs: &[Picked<'_>], out: &mut dyn Write) -> anyhow::Result<bool> {
    let (sender, mut blocks) = mpsc::channel::<Bytes>(BLOCKS);
    let read = async move {
        let results = stream::iter(logs).map(|log| follow(reading, log, sender.clone())).buffer_unordered(AT_ONCE);
        futures::pin_mut!(results);
        let mut whole = true;
        while let Some(result) = results.next().await {
            whole &= result?;
        }
        Ok(whole)
    };
    let write = async {
        while let Some(block) = blocks.recv().await {
            out.write_all(&block)?;
            if blocks.is_empty() {
                out.flush()?;
            }
        }
        Ok(())
    };
    // A reader that went away, or a source that gives no answer, ends both.
    let (whole, ()) = futures::try_join!(read, write.map_err(|error: std::io::Error| anyhow::Error::from(error)))?;
    Ok(whole)
}

async fn follow(reading: &Reading<'_>, log: &Picked<'_>, blocks: mpsc::Sender<Bytes>) -> anyhow::Result<bool> {
    let failed = |why: NotRead| {
        tell(&format!("{}: {why}", log.name()));
        Ok(false)
    };
    let mut text = match reading.open(log).await? {
        Ok(text) => text,
        Err(why) => return failed(why),
    };
    let mut lines = Lines::new(&log.name());
    let mut broken = None;
    while let Some(chunk) = text.bytes.next().await {
        match chunk {
            Ok(chunk) => pass(&blocks, lines.push(&chunk)).await,
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    pass(&blocks, lines.finish()).await;
    if let Some(error) = broken {
        return failed(NotRead::Broken(error));
    }
    say_holes(reading, log, text.state.as_deref()).await?;
    Ok(true)
}

async fn say_holes(reading: &Reading<'_>, log: &Picked<'_>, state: Option<&str>) -> Result<(), SourceError> {
    for hole in reading.what_it_lacks(log, state).await? {
        tell(&format!("{}: not complete: {hole}", log.name()));
    }
    Ok(())
}

async fn pass(blocks: &mpsc::Sender<Bytes>, lines: Vec<u8>) {
    if !lines.is_empty() {
        // Whoever writes has failed, and that error ends us.
        blocks.send(lines.into()).await.unwrap_or_default();
    }
}

/// Puts the name before each line; holds what is not yet a whole one.
struct Lines {
    prefix: Vec<u8>,
    part: Vec<u8>,
}

impl Lines {
    fn new(name: &str) -> Self {
        Self { prefix: format!("[{name}] ").into_bytes(), part: Vec::new() }
    }

    fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.part.extend_from_slice(piece);
            if self.part.last() == Some(&b'\n') || self.part.len() >= LINE {
                self.take(&mut out);
            }
        }
        out
    }

    /// The last line, which may lack its end.
    fn finish(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.part.is_empty() {
            self.take(&mut out);
        }
        out
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        out.append(&mut self.part);
        if out.last() != Some(&b'\n') {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let mut lines = Lines::new("a/main");
        assert_eq!(lines.push(b"one"), b"");
        assert_eq!(lines.push(b" line\n\ntwo\nthr"), b"[a/main] one line\n[a/main] \n[a/main] two\n");
        assert_eq!(lines.finish(), b"[a/main] thr\n");
    }

    #[test]
    fn a_line_without_an_end_is_not_held_for_ever() {
        let mut lines = Lines::new("a");
        assert!(lines.push(&vec![b'x'; LINE - 1]).is_empty());
        assert_eq!(lines.push(b"xy").len(), "[a] ".len() + LINE + 2);
        assert!(lines.finish().is_empty());
    }
}
