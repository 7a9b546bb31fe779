//! A frame that replaces the one before it, with three ANSI sequences that every terminal knows.

use std::io::{self, Write};

const HOME: &str = "\x1b[H";
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END_OF_SCREEN: &str = "\x1b[J";

pub(super) fn clear(out: &mut impl Write) -> io::Result<()> {
    write!(out, "{HOME}{TO_END_OF_SCREEN}")
}

/// As many lines as fit, each cut at the edge: a line that wraps would push the frame up.
pub(super) fn show(lines: &[String], out: &mut impl Write) -> io::Result<()> {
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
