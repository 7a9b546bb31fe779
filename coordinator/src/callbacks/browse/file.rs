//! A report file as it is, or a range of it.

use std::fs::File;
use std::io::SeekFrom;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream::try_unfold;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::OwnedSemaphorePermit;

use super::BrowseError;
use crate::logs::read::Range;

/// Of a read from a file.
const CHUNK: usize = 64 * 1024;

pub(super) async fn response(
    name: &str,
    file: File,
    method: &Method,
    headers: &HeaderMap,
    slot: OwnedSemaphorePermit,
) -> Result<Response, BrowseError> {
    let length = file.metadata()?.len();
    // RFC 9110, 14.2: a range is of a GET alone. What `If-Range` compares with is not kept: who sends it gets the whole.
    let range = headers.get(header::RANGE).filter(|_| method == Method::GET && !headers.contains_key(header::IF_RANGE));
    let range = range.and_then(|range| Range::parse(range.to_str().ok()?)).map(|range| range.of(length));
    let range = range.transpose().map_err(|_| BrowseError::Range { length })?;
    let (first, bytes) = range.map_or((0, length), |(first, last)| (first, last - first + 1));
    let body = if method == Method::HEAD { Body::empty() } else { stream(file, first, bytes, slot).await? };
    let mut response = body.into_response();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, &content_type(name));
    set(header::CONTENT_LENGTH, &bytes.to_string());
    set(header::ACCEPT_RANGES, "bytes");
    // A pod wrote it: it is not to be guessed what it is, and no script of it runs as ours.
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::CONTENT_SECURITY_POLICY, "sandbox");
    if let Some((first, last)) = range {
        set(header::CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

async fn stream(file: File, first: u64, bytes: u64, slot: OwnedSemaphorePermit) -> Result<Body, BrowseError> {
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(first)).await?;
    // The slot is free when the stream is dropped.
    let chunks = try_unfold((file, bytes, slot), async |(mut file, left, slot)| {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let mut chunk = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(read);
        Ok(Some((Bytes::from(chunk), (file, left - read as u64, slot))))
    });
    Ok(Body::from_stream(chunks))
}

fn content_type(name: &str) -> String {
    let guessed = match name.rsplit_once('.') {
        Some((_, "log")) => mime_guess::from_ext("txt"),
        _ => mime_guess::from_path(name),
    };
    let kind = guessed.first_or_octet_stream();
    if kind.type_() == "text" { format!("{kind}; charset=utf-8") } else { kind.to_string() }
}
