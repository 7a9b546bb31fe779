//! Report files for people: directories as lists, files as they are. Runs alone are shown, whatever else lies beside them.
//!
//! ```text
//! /reports/                               definitions
//! /reports/<definition>/                  its runs, and `latest`
//! /reports/<definition>/<run>/<file>
//! /reports/-/                             as batch-job-controller serves it: the runs, where there is one report directory
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Callbacks;
use crate::api::error::ApiError;
use crate::runs::RunsSnapshot;
use listing::Entry;
use shelf::{Found, Shelf};

mod file;
mod listing;
mod shelf;

/// No name of a definition.
pub(super) const ALL: &str = "-";

#[derive(Debug, thiserror::Error)]
enum BrowseError {
    #[error("there is no report at this path")]
    Nothing,
    #[error("failed to read the report directory")]
    Read(#[from] std::io::Error),
    #[error("nothing of this range is there")]
    Range { length: u64 },
    #[error("too many report files are being read at a time")]
    Busy,
    #[error(transparent)]
    NotHere(#[from] crate::runs::view::Unknown),
}

pub(super) async fn root(state: State<Callbacks>, method: Method, uri: axum::http::Uri, headers: HeaderMap) -> Response {
    let path = if uri.path().ends_with('/') { "" } else { NO_SLASH };
    below(state, Path(path.to_owned()), method, headers).await
}

pub(super) async fn below(
    State(callbacks): State<Callbacks>,
    Path(path): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let shown = match callbacks.0.auth.reader(&headers) {
        Ok(()) => callbacks.show(&path, &method, &headers).await.map_err(ApiError::from),
        Err(err) => Err(err.into()),
    };
    shown.unwrap_or_else(|error| {
        callbacks.0.metrics.refused(error.status.as_u16());
        error.into_response()
    })
}

/// `/reports` itself.
const NO_SLASH: &str = "\0";

impl Callbacks {
    async fn show(&self, path: &str, method: &Method, headers: &HeaderMap) -> Result<Response, BrowseError> {
        if path == NO_SLASH {
            return Ok(to_directory("reports"));
        }
        let snapshot = self.0.runs.snapshot()?;
        let is_directory = path.is_empty() || path.ends_with('/');
        let mut segments: Vec<&str> = path.split('/').collect();
        if is_directory {
            segments.pop();
        }
        if segments.iter().any(|segment| segment.is_empty() || segment.starts_with('.') || segment.contains('\0')) {
            return Err(BrowseError::Nothing);
        }
        let last = segments.last().copied().unwrap_or_default();
        let (shelf, below) = match segments.split_first() {
            None => return Ok(listing::response(headers, definitions(&snapshot))),
            Some((&ALL, below)) => match (one_directory(&snapshot), below.split_first()) {
                (Some(shelf), _) => (shelf, below),
                (None, None) if is_directory => return Ok(listing::response(headers, definitions(&snapshot))),
                (None, None) => return Ok(to_directory(last)),
                (None, Some((definition, below))) => (shelf_of(&snapshot, definition)?, below),
            },
            Some((definition, below)) => (shelf_of(&snapshot, definition)?, below),
        };
        // Lists, too: each reads a whole directory.
        let slot = self.0.downloads.clone().try_acquire_owned().map_err(|_| BrowseError::Busy)?;
        let below: Vec<String> = below.iter().map(|segment| (*segment).to_owned()).collect();
        let found = tokio::task::spawn_blocking(move || shelf.find(&below)).await.map_err(std::io::Error::other)??;
        match found {
            None => Err(BrowseError::Nothing),
            Some(Found::Directory(entries)) if is_directory => Ok(listing::response(headers, entries)),
            Some(Found::Directory(_)) => Ok(to_directory(last)),
            Some(Found::File(_)) if is_directory => Err(BrowseError::Nothing),
            Some(Found::File(file)) => file::response(last, file, method, headers, slot).await,
        }
    }
}

/// Also of a definition that only kept runs have.
fn shelf_of(snapshot: &RunsSnapshot, definition: &str) -> Result<Shelf, BrowseError> {
    let named = snapshot.definitions.iter().find(|known| known.name == definition);
    let newest = snapshot.runs.values().rev().find(|run| run.settings.name == definition);
    let directory = match (named, newest) {
        (Some(named), _) => &named.report_directory,
        (None, Some(run)) => &run.settings.report_directory,
        (None, None) => return Err(BrowseError::Nothing),
    };
    let others = snapshot.runs.values().filter(|run| run.settings.name != definition).map(|run| run.run.id.clone());
    let newest = newest.map(|run| run.run.id.clone());
    Ok(Shelf { directory: PathBuf::from(directory), hidden: others.collect(), newest })
}

fn one_directory(snapshot: &RunsSnapshot) -> Option<Shelf> {
    let named = snapshot.definitions.iter().map(|definition| &definition.report_directory);
    let of_runs = snapshot.runs.values().map(|run| &run.settings.report_directory);
    let mut directories = named.chain(of_runs);
    let first = directories.next()?;
    let shelf = Shelf { directory: PathBuf::from(first), hidden: BTreeSet::new(), newest: None };
    directories.all(|directory| directory == first).then_some(shelf)
}

/// By name, those included that only kept runs have.
fn definitions(snapshot: &RunsSnapshot) -> Vec<Entry> {
    let named = snapshot.definitions.iter().map(|definition| &definition.name);
    let names: BTreeSet<&String> = named.chain(snapshot.runs.values().map(|run| &run.settings.name)).collect();
    names.into_iter().map(|name| Entry::directory(name.clone())).collect()
}

/// Relative: whoever serves this under another path need not know.
fn to_directory(last: &str) -> Response {
    let location = HeaderValue::from_str(&format!("{}/", listing::encoded(last)));
    let location = location.unwrap_or(HeaderValue::from_static("./"));
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response()
}

impl From<BrowseError> for ApiError {
    fn from(err: BrowseError) -> Self {
        let new = |status| Self::new(status, err.to_string());
        match &err {
            BrowseError::Nothing => new(StatusCode::NOT_FOUND),
            BrowseError::Read(source) => {
                tracing::warn!(error = source as &dyn std::error::Error, "failed to read a report directory");
                new(StatusCode::INTERNAL_SERVER_ERROR).hint("see the coordinator's log")
            }
            BrowseError::Range { length } => {
                Self { content_range: Some(format!("bytes */{length}")), ..new(StatusCode::RANGE_NOT_SATISFIABLE) }
            }
            BrowseError::Busy => new(StatusCode::TOO_MANY_REQUESTS).later(),
            BrowseError::NotHere(_) => new(StatusCode::SERVICE_UNAVAILABLE).later(),
        }
    }
}
