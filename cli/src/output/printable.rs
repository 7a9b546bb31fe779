//! Text from outside (commands, names, messages of others) made safe for a terminal and for one line of a table.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes control characters and the marks that turn the direction of text: a process may call itself anything.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a String cannot fail.
            write!(safe, "\\u{{{:x}}}", u32::from(character)).unwrap_or_default();
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_cannot_paint_the_terminal() {
        assert_eq!(printable("sh\u{1b}[2J\n"), "sh\\u{1b}[2J\\u{a}");
        assert_eq!(printable("naïve ünïcode"), "naïve ünïcode");
    }
}
