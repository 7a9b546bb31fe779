//! `Content-Disposition` (RFC 6266), the file name in it alone. Pure.

use std::borrow::Cow;

/// `filename*` wins over `filename`. `None`: there is none, or it cannot be read.
pub(super) fn file_name(header: &[u8]) -> Option<String> {
    let header = String::from_utf8_lossy(header);
    let (_, mut rest) = header.split_once(';')?;
    let mut plain = None;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = value(after.trim_start())?;
        let name = name.trim_matches([' ', '\t', ';']);
        if name.eq_ignore_ascii_case("filename*") {
            if let Some(extended) = extended(&value) {
                return Some(extended);
            }
        } else if name.eq_ignore_ascii_case("filename") {
            plain.get_or_insert(value.into_owned());
        }
        rest = after;
    }
    plain
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_once(';').unwrap_or((text, ""));
        return Some((value.trim().into(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, next)) = chars.next() {
        match next {
            '"' => return Some((value.into(), &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            next => value.push(next),
        }
    }
    None
}

/// `UTF-8''a%20b` (RFC 8187).
fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8().ok()?;
    charset.eq_ignore_ascii_case("utf-8").then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form_that_clients_send() {
        for (header, name) in [
            ("attachment; filename=a.txt", Some("a.txt")),
            ("attachment; filename=\"a b; c.txt\"; size=3", Some("a b; c.txt")),
            (r#"form-data; name="f"; filename="say \"hi\".txt""#, Some("say \"hi\".txt")),
            ("attachment; filename=\"x\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%E2%9C%93.txt", Some("größe ✓.txt")),
            ("attachment; FILENAME*=utf-8'de'%2Fetc%2Fpasswd", Some("/etc/passwd")),
            ("attachment; filename*=latin-9''x; filename=y", Some("y")),
            ("attachment; filename=", Some("")),
            ("attachment", None),
            ("attachment; filename=\"open", None),
            ("", None),
        ] {
            assert_eq!(file_name(header.as_bytes()).as_deref(), name, "{header}");
        }
        assert_eq!(file_name("attachment; filename=größe".as_bytes()).as_deref(), Some("größe"));
    }
}
