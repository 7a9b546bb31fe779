//! `multipart/form-data`: each part with a file name is a file; the others are passed over.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use futures::{Stream, StreamExt};

use super::{FileError, Pace, Upload, content_length, name};

/// Headers of parts, and parts that are no files, of one form.
const MAX_BESIDES: usize = 4 << 20;

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("multipart/form-data"))
}

impl Upload<'_> {
    pub(super) async fn form(&mut self, request: Request) -> Result<(), FileError> {
        // Boundaries and headers of parts included: a little more than the files.
        if let Some(length) = content_length(&request) {
            self.reservation.announced(length)?;
        }
        let unread = Arc::new(AtomicUsize::new(0));
        let (parts, body) = request.into_parts();
        let body = Body::from_stream(Counted { chunks: body.into_data_stream(), unread: unread.clone(), yielded: false });
        let form = Multipart::from_request(Request::from_parts(parts, body), &()).await;
        let mut form = form.map_err(|err| FileError::Form { why: err.body_text() })?;
        let mut files = 0;
        loop {
            let field = self.pace.next(form.next_field()).await?;
            let Some(field) = field.map_err(|err| bad(&unread, &err))? else { break };
            let posted = field.file_name().map(|name| name::base(name).to_owned());
            let chunks = field.map(|chunk| {
                let chunk = chunk.map_err(|err| err.body_text())?;
                unread.fetch_sub(chunk.len().min(unread.load(Ordering::Relaxed)), Ordering::Relaxed);
                Ok(chunk)
            });
            match posted.filter(|name| !name.is_empty()) {
                Some(name) => {
                    let name = self.name(&name)?;
                    self.save(&name, chunks).await?;
                    files += 1;
                }
                None => pass_over(chunks, &mut self.pace).await?,
            }
        }
        if files == 0 { Err(FileError::NoFile) } else { Ok(()) }
    }
}

async fn pass_over(chunks: impl Stream<Item = Result<Bytes, String>>, pace: &mut Pace) -> Result<(), FileError> {
    let mut chunks = std::pin::pin!(chunks);
    let mut passed = 0;
    while let Some(chunk) = pace.next(chunks.next()).await? {
        let length = chunk.map_err(|why| FileError::BrokenOff { why })?.len();
        pace.came(length);
        passed += length;
        if passed > MAX_BESIDES {
            return Err(FileError::FormTooLarge { max: MAX_BESIDES });
        }
    }
    Ok(())
}

fn bad(unread: &AtomicUsize, err: &axum::extract::multipart::MultipartError) -> FileError {
    match unread.load(Ordering::Relaxed) > MAX_BESIDES {
        true => FileError::FormTooLarge { max: MAX_BESIDES },
        false => FileError::Form { why: err.body_text() },
    }
}

/// The parser takes all that is there into memory, and keeps what it cannot make a part of. So it gets one chunk at a time, and none
/// beyond the limit.
struct Counted {
    chunks: BodyDataStream,
    /// Bytes that went in and did not come out of a part.
    unread: Arc<AtomicUsize>,
    yielded: bool,
}

impl Stream for Counted {
    type Item = Result<Bytes, axum::BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.yielded) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(chunk) = std::task::ready!(self.chunks.poll_next_unpin(cx)) else { return Poll::Ready(None) };
        let chunk = chunk?;
        self.yielded = true;
        let unread = self.unread.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
        Poll::Ready(Some(if unread > MAX_BESIDES { Err("what surrounds the files is too large".into()) } else { Ok(chunk) }))
    }
}
