//! Logs one after the other, as `cat` and `tail` print files. In: logs. Out: their bytes, as they are, one chunk in memory.

use std::io::Write;

use futures::StreamExt;

use super::pick::Picked;
use super::read::{NotRead, Reading};
use super::tell;
use crate::source::LogText;

/// Whether all of them could be shown. Several get a line with the name before each, as `tail` does it.
pub(super) async fn in_turn(reading: &Reading<'_>, logs: &[Picked<'_>], out: &mut dyn Write) -> anyhow::Result<bool> {
    let mut whole = true;
    let mut before = Before::Nothing;
    for log in logs {
        let text = match reading.open(log).await? {
            Ok(text) => text,
            Err(why) => {
                tell(&format!("{}: {why}", log.name()));
                whole = false;
                continue;
            }
        };
        if logs.len() > 1 {
            writeln!(out, "{}==> {} <==", before.blank(), log.name())?;
        }
        let state = text.state.clone();
        let last = match copy(text, reading.follow, out).await? {
            Ok(last) => last,
            Err(why) => {
                out.flush()?;
                tell(&format!("{}: {why}", log.name()));
                whole = false;
                continue;
            }
        };
        before = if matches!(last, None | Some(b'\n')) { Before::WholeLine } else { Before::PartOfALine };
        for hole in reading.what_it_lacks(log, state.as_deref()).await? {
            out.flush()?;
            tell(&format!("{}: not complete: {hole}", log.name()));
        }
    }
    Ok(whole)
}

/// What stands before a header.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    WholeLine,
    PartOfALine,
}

impl Before {
    const fn blank(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::WholeLine => "\n",
            Self::PartOfALine => "\n\n",
        }
    }
}

/// The last byte. The outer error is that of the writer.
async fn copy(mut text: LogText, at_once: bool, out: &mut dyn Write) -> std::io::Result<Result<Option<u8>, NotRead>> {
    let mut last = None;
    while let Some(chunk) = text.bytes.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return Ok(Err(NotRead::Broken(error))),
        };
        out.write_all(&chunk)?;
        if at_once {
            out.flush()?;
        }
        last = chunk.last().copied().or(last);
    }
    Ok(Ok(last))
}
