//! Reads the body of a request up to a limit and within a time, and no byte further.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use futures::StreamExt;

use super::error::ApiError;

/// 4 MiB at 140 kB/s; slower than that, an agent sends smaller batches.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn read(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(PATIENCE, collect(body, announced, limit)).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

async fn collect(body: Body, announced: usize, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut read = Vec::with_capacity(announced);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|err| ApiError::new(StatusCode::BAD_REQUEST, format!("the body broke off: {err}")))?;
        if read.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes")).hint("send it in parts")
}
