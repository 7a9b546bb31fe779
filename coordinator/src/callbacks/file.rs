//! Files: any body under a name, or a form of several. Streamed to a file without a name, which gets its name when it is whole.

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header;
use futures::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use super::Callbacks;
use super::gate::Admitted;
use super::quota::{OverQuota, Reservation};
use super::refusal::{TellError, busy};
use crate::api::error::ApiError;
use crate::runs::ReportRefused;
use crate::runs::reports::{Fresh, ReportDirectory, RunFiles};
use crate::runs::view::Posted;
use name::FileName;
use pace::Pace;

mod disposition;
mod form;
mod name;
mod pace;

pub(super) use name::NameError;

#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Quota(#[from] OverQuota),
    #[error("file {file} is larger than {max} bytes, which is the most")]
    TooLarge { file: String, max: u64 },
    #[error("what surrounds the files of the form is larger than {max} bytes")]
    FormTooLarge { max: usize },
    #[error("the body broke off: {why}")]
    BrokenOff { why: String },
    #[error(transparent)]
    Stalled(#[from] pace::TooSlow),
    #[error("error reading the form: {why}")]
    Form { why: String },
    #[error("the form has no file")]
    NoFile,
    #[error("error saving file {file}")]
    Save {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Tell(#[from] TellError),
}

/// After so many bytes it is asked again whether the disk has room.
const CHECKED: u64 = 4 << 20;

/// Files of one request.
struct Upload<'a> {
    callbacks: &'a Callbacks,
    admitted: &'a Admitted,
    reservation: Reservation,
    pace: Pace,
    /// Of the files that are whole.
    bytes: u64,
}

pub(super) async fn take(callbacks: &Callbacks, admitted: &Admitted, request: Request) -> Result<u64, ApiError> {
    let shared = &callbacks.0;
    let _slot = callbacks.slot(&shared.uploads).await.ok_or_else(busy)?;
    let reservation = shared.quota.begin(&shared.config, &shared.runs, admitted);
    let mut upload = Upload { callbacks, admitted, reservation, pace: Pace::default(), bytes: 0 };
    match form::is_form(request.headers()) {
        true => upload.form(request).await?,
        false => upload.plain(request).await?,
    }
    Ok(upload.bytes)
}

impl Upload<'_> {
    async fn plain(&mut self, request: Request) -> Result<(), FileError> {
        let name = self.name(&name::of_request(request.uri(), request.headers()))?;
        if let Some(length) = content_length(&request) {
            self.fits(&name, length)?;
            self.reservation.announced(length)?;
        }
        let chunks = request.into_body().into_data_stream().map(|chunk| chunk.map_err(|err| err.to_string()));
        self.save(&name, chunks).await
    }

    fn name(&self, name: &str) -> Result<FileName, FileError> {
        let Admitted { node, .. } = self.admitted;
        let forgotten = || ReportRefused::Unknown { run: self.admitted.id().to_owned(), node: node.clone() };
        let run = self.admitted.now(&self.callbacks.0.runs).ok_or_else(forgotten).map_err(TellError::from)?;
        Ok(FileName::new(node, name, run.nodes.keys())?)
    }

    fn fits(&self, name: &FileName, bytes: u64) -> Result<(), FileError> {
        let max = self.callbacks.0.config.max_file_bytes;
        if bytes > max { Err(FileError::TooLarge { file: name.to_string(), max }) } else { Ok(()) }
    }

    /// The file has its name, and the runs task knows of it, when it answers.
    async fn save(&mut self, name: &FileName, chunks: impl Stream<Item = Result<Bytes, String>>) -> Result<(), FileError> {
        self.reservation.file()?;
        let failed = |source| FileError::Save { file: name.to_string(), source };
        let directory = ReportDirectory::of(&self.admitted.settings, self.admitted.id());
        let fresh = blocking(move || directory.files().and_then(|files| Ok((files.fresh()?, files)))).await;
        let (fresh, files) = fresh.map_err(failed)?;
        let (fresh, written) = self.write(name, fresh, &files, chunks).await?;
        publish(files, fresh, name).await.map_err(failed)?;
        self.callbacks.tell(self.admitted, Posted::File { bytes: written }).await?;
        self.bytes += written;
        Ok(())
    }

    async fn write(
        &mut self,
        name: &FileName,
        fresh: Fresh,
        files: &RunFiles,
        chunks: impl Stream<Item = Result<Bytes, String>>,
    ) -> Result<(Fresh, u64), FileError> {
        let failed = |source| FileError::Save { file: name.to_string(), source };
        let (file, temporary) = fresh.split();
        let mut file = tokio::fs::File::from_std(file);
        let (mut written, mut checked): (u64, u64) = (0, 0);
        let mut chunks = std::pin::pin!(chunks);
        while let Some(chunk) = self.pace.next(chunks.next()).await? {
            let chunk = chunk.map_err(|why| FileError::BrokenOff { why })?;
            self.pace.came(chunk.len());
            written += chunk.len() as u64;
            self.fits(name, written)?;
            self.reservation.reach(self.bytes + written)?;
            if written > checked {
                checked = written + CHECKED;
                let files = files.clone();
                blocking(move || files.has_room(CHECKED)).await.map_err(failed)?;
            }
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok((temporary.join(file.into_std().await), written))
    }
}

async fn publish(files: RunFiles, fresh: Fresh, name: &FileName) -> std::io::Result<()> {
    let name = name.to_string();
    blocking(move || files.publish(fresh, &name)).await
}

/// On a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other).flatten()
}

fn content_length(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
