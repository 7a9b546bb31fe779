//! Comments that trim on their left only, `{{- /* … */}}`: gotmpl would trim what follows as well, as Go does not, and with it the line
//! break and the indentation of the YAML after it. Text in, the same template out, with actions that print nothing in their place.

use std::borrow::Cow;

const OPEN: &str = "{{-";
const BEGIN: &str = "/*";
const END: &str = "*/";
const CLOSE: &str = "}}";

pub(super) fn trimmed_as_go_does(template: &str) -> Cow<'_, str> {
    let mut changed = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = template[at..].find(OPEN) {
        let open = at + found;
        at = open + OPEN.len();
        let Some(after) = comment(&template[at..]) else { continue };
        let lines = template[at..at + after].matches('\n').count();
        changed += &template[copied..at];
        // Lines stay where they are, for what is told of them.
        changed += &format!(" \"\"{}{CLOSE}", "\n".repeat(lines));
        at += after;
        copied = at;
    }
    if copied == 0 {
        return Cow::Borrowed(template);
    }
    changed += &template[copied..];
    Cow::Owned(changed)
}

/// The length of a comment and its delimiter, which does not trim.
fn comment(text: &str) -> Option<usize> {
    let inside = text.trim_start();
    let spaces = text.len() - inside.len();
    let rest = inside.strip_prefix(BEGIN).filter(|_| spaces > 0)?;
    let (_, tail) = rest.split_once(END)?;
    let tail = tail.trim_start().strip_prefix(CLOSE)?;
    Some(text.len() - tail.len())
}
