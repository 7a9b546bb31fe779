//! Blocks that are not closed, and ends of nothing: gotmpl takes the first for closed, and drops whatever follows the second, where Go
//! refuses both. In: a template. Out: what is wrong with it, with its line.

const OPENING: [&str; 5] = ["if", "range", "with", "define", "block"];

pub(super) fn check(template: &str) -> Result<(), String> {
    let mut open: Vec<(&str, usize)> = Vec::new();
    let mut at = 0;
    while let Some(found) = template[at..].find("{{") {
        let line = 1 + template[..at + found].matches('\n').count();
        at += found + 2;
        let inside = &template[at..];
        let inside = inside.strip_prefix('-').unwrap_or(inside).trim_start();
        at = template.len() - inside.len();
        let word = inside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        match word {
            "end" if open.pop().is_none() => {
                return Err(format!("line {line}: there is nothing that this {{{{end}}}} could close"));
            }
            "else" if open.is_empty() => return Err(format!("line {line}: there is nothing that this {{{{else}}}} could be of")),
            word if OPENING.contains(&word) => open.push((word, line)),
            _ => {}
        }
        // One that is not closed is told with its place when it is parsed.
        let Some(length) = length(inside) else { return Ok(()) };
        at += length;
    }
    match open.pop() {
        Some((word, line)) => Err(format!("line {line}: this {{{{{word}}}}} has no {{{{end}}}}")),
        None => Ok(()),
    }
}

/// Of an action, its delimiter included; `}}` within a comment or a text does not end it.
fn length(action: &str) -> Option<usize> {
    if action.starts_with("/*") {
        let comment = action.find("*/")? + 2;
        return Some(comment + action[comment..].find("}}")? + 2);
    }
    let mut quote = None;
    let mut characters = action.char_indices();
    while let Some((at, c)) = characters.next() {
        match quote {
            Some('`') if c == '`' => quote = None,
            Some('`') => {}
            Some(_) if c == '\\' => {
                characters.next();
            }
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if action[at..].starts_with("}}") => return Some(at + 2),
            None => {}
        }
    }
    None
}
