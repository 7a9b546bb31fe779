//! A body that is what was announced. Input: a stream, and the length and MD5 it should have. Output: the same stream; the
//! last chunk is held back until everything was found to be right, so that nobody can take a wrong body for a whole one.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use futures::stream::try_unfold;
use jobmeter_protocol::logs::Piece;
use md5::{Digest, Md5};

use super::{ByteStream, ObjectError};

pub(super) struct Checked {
    pub(super) stream: ByteStream,
    /// Set once the body was found to be wrong, for whoever sees only that the transfer failed.
    pub(super) wrong: Arc<OnceLock<String>>,
}

struct State {
    body: ByteStream,
    key: String,
    left: u64,
    expected: [u8; 16],
    digest: Md5,
    wrong: Arc<OnceLock<String>>,
}

/// The MD5 of a piece, which says it in Base64.
pub(super) fn md5_of(key: &str, piece: &Piece) -> Result<[u8; 16], ObjectError> {
    let bytes = STANDARD.decode(&piece.md5).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| ObjectError::Mismatch {
        key: key.to_owned(),
        why: format!("the MD5 announced for piece {} is not 16 bytes of Base64", piece.number),
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Checked {
    pub(super) fn new(key: &str, piece: &Piece, body: ByteStream) -> Result<Self, ObjectError> {
        let wrong = Arc::<OnceLock<String>>::default();
        let state = State {
            body,
            key: key.to_owned(),
            left: piece.bytes,
            expected: md5_of(key, piece)?,
            digest: Md5::new(),
            wrong: wrong.clone(),
        };
        Ok(Self { stream: try_unfold(Some(state), next).boxed(), wrong })
    }
}

async fn next(state: Option<State>) -> Result<Option<(Bytes, Option<State>)>, ObjectError> {
    let Some(mut state) = state else { return Ok(None) };
    loop {
        let chunk = match state.body.next().await {
            Some(Ok(chunk)) if chunk.is_empty() => continue,
            Some(chunk) => chunk.map_err(|err| state.broke_off(err))?,
            None if state.left == 0 => Bytes::new(),
            None => return Err(state.fail(format!("{} bytes of it are missing", state.left))),
        };
        state.digest.update(&chunk);
        let Some(left) = state.left.checked_sub(chunk.len() as u64) else {
            return Err(state.fail("it is longer than announced".to_owned()));
        };
        state.left = left;
        if left > 0 {
            return Ok(Some((chunk, Some(state))));
        }
        if state.digest.finalize_reset().as_slice() != state.expected {
            return Err(state.fail("its MD5 is not the one announced".to_owned()));
        }
        while let Some(more) = state.body.next().await {
            if !more.map_err(|err| state.broke_off(err))?.is_empty() {
                return Err(state.fail("it is longer than announced".to_owned()));
            }
        }
        return Ok((!chunk.is_empty()).then_some((chunk, None)));
    }
}

impl State {
    /// Whoever sends it is to blame, not the store: it sees only a transfer that stops.
    fn broke_off(&self, err: ObjectError) -> ObjectError {
        drop(self.wrong.set(err.to_string()));
        err
    }

    fn fail(&self, why: String) -> ObjectError {
        // Only the first reason counts.
        drop(self.wrong.set(why.clone()));
        ObjectError::Mismatch { key: self.key.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use futures::{TryStreamExt, stream};

    use super::*;

    async fn check(chunks: &[&'static str], announced: &str) -> Result<String, String> {
        let piece = Piece { number: 1, bytes: announced.len() as u64, md5: STANDARD.encode(Md5::digest(announced)) };
        let body = stream::iter(chunks.to_vec()).map(|chunk| Ok(Bytes::from(chunk))).boxed();
        let checked = Checked::new("key", &piece, body).unwrap();
        let told = checked.wrong.clone();
        let read: Result<Vec<Bytes>, _> = checked.stream.try_collect().await;
        assert_eq!(read.is_err(), told.get().is_some());
        read.map(|chunks| String::from_utf8(chunks.concat()).unwrap()).map_err(|err| err.to_string())
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_the_fault_of_the_store() {
        let piece = Piece { number: 1, bytes: 4, md5: STANDARD.encode(Md5::digest("abcd")) };
        let broken = || ObjectError::Mismatch { key: "key".to_owned(), why: "the body broke off".to_owned() };
        let body = stream::iter([Ok(Bytes::from("ab")), Err(broken())]).boxed();
        let Checked { stream, wrong } = Checked::new("key", &piece, body).unwrap();
        let read: Result<Vec<Bytes>, _> = stream.try_collect().await;
        assert!(matches!(read, Err(ObjectError::Mismatch { .. })));
        assert!(wrong.get().is_some_and(|why| why.contains("broke off")), "{wrong:?}");
    }

    #[tokio::test]
    async fn only_the_body_that_was_announced_arrives_whole() {
        assert_eq!(check(&["ab", "", "cd"], "abcd").await.unwrap(), "abcd");
        assert_eq!(check(&[], "").await.unwrap(), "");
        assert_eq!(check(&["", ""], "").await.unwrap(), "");
        for (chunks, announced, why) in [
            (&["ab"][..], "abcd", "2 bytes of it are missing"),
            (&["ab", "cd", "e"], "abcd", "longer than announced"),
            (&["abcde"], "abcd", "longer than announced"),
            (&["ab", "ce"], "abcd", "MD5"),
            (&["x"], "", "longer than announced"),
        ] {
            let error = check(chunks, announced).await.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
