//! A frame that replaces the one before it, with three ANSI sequences that every terminal knows.
//!
//! In: lines, again and again. Out: the screen, until Ctrl-C. Used by `jobmeter top` and by `--watch`.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::exit::Usage;
use crate::source::SourceError;

const HOME: &str = "\x1b[H";
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END_OF_SCREEN: &str = "\x1b[J";

/// Faster than that nobody reads, and the coordinator has better things to do.
const FASTEST: Duration = Duration::from_millis(100);

/// Value of a flag `--interval`.
pub(crate) fn interval(text: &str) -> Result<Duration, Usage> {
    let parsed = humantime::parse_duration(text).ok().filter(|interval| *interval >= FASTEST);
    parsed.ok_or_else(|| Usage(format!("--interval: \"{text}\" is not a duration of 100ms or more, such as 2s")))
}

/// Shows `lines`, then what `next` says, every interval until Ctrl-C. `lines` must not be empty.
pub(crate) async fn refresh(
    mut lines: Vec<String>,
    interval: Duration,
    next: impl AsyncFn() -> Result<Vec<String>, SourceError>,
) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    write!(out, "{HOME}{TO_END_OF_SCREEN}")?;
    loop {
        show(&lines, &mut out)?;
        tokio::select! {
            // Cancel-safe: ticks are not lost, they are late.
            _ = ticks.tick() => {}
            // Cancel-safe: the loop ends.
            interrupt = tokio::signal::ctrl_c() => return Ok(interrupt?),
        }
        // A coordinator that restarts is worth waiting for: the last frame stays, with the reason above it.
        match next().await {
            Ok(fresh) => lines = fresh,
            Err(error) => lines[0] = format!("not fresh: {:#}", anyhow::Error::from(error)),
        }
    }
}

/// As many lines as fit, each cut at the edge: a line that wraps would push the frame up.
fn show(lines: &[String], out: &mut impl Write) -> io::Result<()> {
    let (width, height) = terminal_size::terminal_size()
        .map_or((usize::MAX, usize::MAX), |(width, height)| (usize::from(width.0), usize::from(height.0)));
    write!(out, "{}", draw(lines, width, height))?;
    out.flush()
}

fn draw(lines: &[String], width: usize, height: usize) -> String {
    let room = height.saturating_sub(1).max(1);
    let hidden = lines.len().saturating_sub(room);
    let shown = if hidden > 0 { room - 1 } else { lines.len() };
    let mut text = HOME.to_owned();
    for line in &lines[..shown] {
        text.extend(line.chars().take(width));
        text += TO_END_OF_LINE;
        text.push('\n');
    }
    if hidden > 0 {
        text += &format!("… {} more lines{TO_END_OF_LINE}\n", hidden + 1);
    }
    text + TO_END_OF_SCREEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_never_outgrows_the_terminal() {
        let lines: Vec<String> = (0..10).map(|line| format!("line {line} with a long tail")).collect();
        let drawn = draw(&lines, 6, 5);
        assert_eq!(drawn, "\x1b[Hline 0\x1b[K\nline 1\x1b[K\nline 2\x1b[K\n… 7 more lines\x1b[K\n\x1b[J");
        assert_eq!(draw(&lines[..1], 80, 24).matches('\n').count(), 1);
    }
}
