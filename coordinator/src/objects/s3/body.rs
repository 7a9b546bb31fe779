//! A stream of a known length as a request's body, so that it goes with a `Content-Length` and in one stretch.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use futures::StreamExt;
use hyper::body::{Body, Frame, SizeHint};

use crate::objects::{ByteStream, ObjectError};

pub(super) struct Sized {
    /// Never locked, only borrowed: it makes the stream `Sync`, which the SDK asks of bodies.
    stream: Mutex<ByteStream>,
    left: u64,
}

impl Sized {
    pub(super) fn new(stream: ByteStream, bytes: u64) -> Self {
        Self { stream: Mutex::new(stream), left: bytes }
    }
}

impl Body for Sized {
    type Data = Bytes;
    type Error = ObjectError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ObjectError>>> {
        let chunk = ready!(self.stream.get_mut().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(context));
        if let Some(Ok(chunk)) = &chunk {
            self.left = self.left.saturating_sub(chunk.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
