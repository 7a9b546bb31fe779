//! Under which name a file is kept: `<node>-<name>`. Pure.
//!
//! A name from `?name=` is taken as it is, or refused. One from a header or a form is some client's path: its last part counts, as
//! batch-job-controller has it.

use std::fmt;

use axum::http::{HeaderMap, Uri, header};

use super::disposition;
use crate::runs::reports::{log_name, result_name};

const MAX_NAME: usize = 200;
/// What a file system takes (`NAME_MAX`), the node's name included.
const MAX_STORED: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::callbacks) enum NameError {
    #[error("{name:?} is not the plain name of a file: {why}")]
    NotPlain { name: String, why: &'static str },
    #[error("the name of the file has {found} bytes; {max} are the most")]
    TooLong { found: usize, max: usize },
    #[error("{name:?} is kept for {owner}")]
    Taken { name: String, owner: String },
}

/// As it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileName(String);

impl FileName {
    pub(super) fn new<'a>(node: &str, name: &str, nodes: impl Iterator<Item = &'a String>) -> Result<Self, NameError> {
        plain(name)?;
        let stored = format!("{node}-{name}");
        if stored.len() > MAX_STORED {
            return Err(NameError::TooLong { found: name.len(), max: MAX_STORED.saturating_sub(node.len() + 1) });
        }
        for other in nodes {
            if let Some(what) = is_ours(other, &stored) {
                return Err(NameError::Taken { name: stored, owner: format!("{what} of node {other}") });
            }
            // `a` posting `b-x` where there is a node `a-b`, which may post `x`.
            let longer = other.len() > node.len() && other.starts_with(node);
            if longer && stored.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('-')) {
                return Err(NameError::Taken { name: stored, owner: format!("files of node {other}") });
            }
        }
        Ok(Self(stored))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `?name=`, then the header, then one that nobody else has.
pub(super) fn of_request(uri: &Uri, headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.as_bytes());
    let query = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("name="));
    if let Some(name) = query.map(decoded).filter(|name| !name.is_empty()) {
        return name;
    }
    let header = text(header::CONTENT_DISPOSITION).and_then(disposition::file_name);
    if let Some(name) = header.filter(|name| !name.is_empty()) {
        return base(&name).to_owned();
    }
    let content_type = text(header::CONTENT_TYPE).and_then(|value| std::str::from_utf8(value).ok());
    format!("{}.{}", uuid::Uuid::new_v4(), extension(content_type.unwrap_or_default()))
}

/// Of a path with `/`.
pub(super) fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn plain(name: &str) -> Result<(), NameError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME {
        return Err(NameError::TooLong { found: name.len(), max: MAX_NAME });
    } else if name.contains(['/', '\\']) {
        "it has a slash or a backslash"
    } else if name.contains("..") {
        "it has two dots in a row"
    } else if name.starts_with('.') {
        "it begins with a dot"
    } else if name.chars().any(char::is_control) {
        "it has a control character"
    } else if name.contains(char::REPLACEMENT_CHARACTER) {
        "it is not UTF-8"
    } else {
        return Ok(());
    };
    Err(NameError::NotPlain { name: name.to_owned(), why })
}

/// A result or a log that is written by the coordinator.
fn is_ours(node: &str, stored: &str) -> Option<&'static str> {
    let between = |first: &str, last: &str| stored.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    let late = || between(&format!("{node}-attempt-"), ".json").is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()));
    let log = log_name(node, "");
    let log = log.strip_suffix(".log").is_some_and(|first| between(first, ".log").is_some());
    if stored == result_name(node) || late() {
        Some("results")
    } else if log {
        Some("logs")
    } else {
        None
    }
}

fn extension(content_type: &str) -> &'static str {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/plain" => return "txt",
        // Says nothing.
        "application/octet-stream" => return "file",
        _ => {}
    }
    let known = mime_guess::get_mime_extensions_str(&essence).unwrap_or_default();
    let subtype = essence.split('/').nth(1).unwrap_or_default();
    known.iter().find(|extension| **extension == subtype).or(known.first()).copied().unwrap_or("file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(node: &str, name: &str, nodes: &[&str]) -> Result<String, NameError> {
        FileName::new(node, name, nodes.iter().map(|node| (*node).to_owned()).collect::<Vec<_>>().iter()).map(|name| name.0)
    }

    fn requested(uri: &str, headers: &[(header::HeaderName, &str)]) -> String {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        of_request(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn a_name_that_is_not_plain_is_refused_and_not_mended() {
        for name in ["/../../x", "..", "a/b", r"a\b", ".hidden", "a\0", "a\n", "a..b", "", "\u{202}\u{7f}", "a\u{fffd}"] {
            assert!(matches!(stored("n", name, &["n"]), Err(NameError::NotPlain { .. })), "{name:?}");
        }
        assert!(matches!(stored("n", &"x".repeat(201), &["n"]), Err(NameError::TooLong { max: 200, .. })));
        let long = "n".repeat(100);
        assert!(matches!(stored(&long, &"x".repeat(155), &[&long]), Err(NameError::TooLong { max: 154, .. })));
        assert_eq!(stored("n", "größe 1 ✓.txt", &["n"]).unwrap(), "n-größe 1 ✓.txt");
        assert_eq!(stored("n", &"x".repeat(200), &["n"]).unwrap().len(), 202);
    }

    #[test]
    fn no_file_takes_the_name_of_another_nodes_or_of_our_own() {
        let nodes = ["a", "a-b", "a-b-c"];
        assert_eq!(stored("a", "x", &nodes).unwrap(), "a-x");
        assert_eq!(stored("a-b", "x", &nodes).unwrap(), "a-b-x");
        assert_eq!(stored("a", "bb-x", &nodes).unwrap(), "a-bb-x");
        assert_eq!(stored("a", "container-x.txt", &nodes).unwrap(), "a-container-x.txt");
        for (node, name) in [
            ("a", "b-x"),
            ("a", "b.json"),
            ("a", "b-c.json"),
            ("a-b", "c-x"),
            ("a", "container-main.log"),
            ("a", "attempt-0.json"),
            ("a", "b-container-main.log"),
        ] {
            assert!(matches!(stored(node, name, &nodes), Err(NameError::Taken { .. })), "{node} {name}");
        }
        // Not only names that begin with one's own: this is the log of node `a`.
        assert!(matches!(stored("a-container", "main.log", &["a", "a-container"]), Err(NameError::Taken { .. })));
    }

    #[test]
    fn the_query_wins_over_the_header_and_the_header_over_the_type() {
        let file = (header::CONTENT_DISPOSITION, "attachment; filename=\"dir/b.txt\"");
        let plain = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
        assert_eq!(requested("/f?x=1&name=a+b%20c%2Fd", &[file.clone(), plain.clone()]), "a b c/d");
        assert_eq!(requested("/f?name=", &[file, plain.clone()]), "b.txt");
        let unnamed = requested("/f", &[plain]);
        assert!(unnamed.ends_with(".txt") && unnamed.len() == 40, "{unnamed}");
        for (content_type, extension) in [
            ("application/json", ".json"),
            ("image/jpeg", ".jpeg"),
            ("application/pdf", ".pdf"),
            ("application/octet-stream", ".file"),
            ("application/x-www-form-urlencoded", ".file"),
            ("nonsense", ".file"),
        ] {
            let name = requested("/f", &[(header::CONTENT_TYPE, content_type)]);
            assert!(name.ends_with(extension), "{content_type}: {name}");
        }
        assert!(requested("/f", &[]).ends_with(".file"));
    }

    #[test]
    fn what_a_client_calls_a_path_is_its_last_part() {
        for (path, last) in [("a", "a"), ("/tmp/a.txt", "a.txt"), ("a/b/", "b"), ("../../x", "x"), ("/", ""), ("..", "..")] {
            assert_eq!(base(path), last, "{path}");
        }
    }
}
