//! A directory for people and for programs: links, one to a line, or JSON where that is asked for.

use axum::Json;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// What a path need not say otherwise.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Of a file; a directory has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) modified: Option<Timestamp>,
}

impl Entry {
    pub(super) fn directory(name: String) -> Self {
        Self { name, bytes: None, modified: None }
    }
}

pub(super) fn response(headers: &HeaderMap, entries: Vec<Entry>) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json")) {
        return Json(entries).into_response();
    }
    Html(html(&entries)).into_response()
}

fn html(entries: &[Entry]) -> String {
    let mut page = "<!doctype html>\n<meta charset=\"utf-8\">\n<pre>\n".to_owned();
    for entry in entries {
        let slash = if entry.bytes.is_none() { "/" } else { "" };
        page += &format!("<a href=\"{}{slash}\">{}{slash}</a>\n", encoded(&entry.name), escaped(&entry.name));
    }
    page + "</pre>\n"
}

/// Also right where a colon would make a scheme of what comes before it: it is encoded.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_file_is_never_read_as_html_or_as_another_path() {
        let entries =
            [Entry { name: "n-<b>&\"x:?#%.txt".to_owned(), bytes: Some(1), modified: None }, Entry::directory("2026".to_owned())];
        let page = html(&entries);
        assert!(page.contains("<a href=\"n-%3Cb%3E%26%22x%3A%3F%23%25.txt\">n-&lt;b&gt;&amp;&#34;x:?#%.txt</a>\n"), "{page}");
        assert!(page.contains("<a href=\"2026/\">2026/</a>\n"), "{page}");
    }
}
