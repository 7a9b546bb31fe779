//! Records as they are written, as server-sent events.
//!
//! Each event is `record` with the record as JSON; a client that cannot keep up is told so with a last event `lagged` and
//! dropped, so that it lists again; nobody else waits for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use crate::CoordinatorHandle;
use crate::metrics::Metrics;
use crate::store::{AppliedPod, RecordFilter};

/// Each holds a connection; beyond it people are asked to come later.
const MAX_WATCHERS: usize = 128;
/// Shorter than what proxies in between put up with.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many watch now. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Watchers(Arc<AtomicUsize>);

/// One of them; dropped with its connection.
struct Place(Watchers);

impl Watchers {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn join(&self) -> Option<Place> {
        let joined =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < MAX_WATCHERS).then_some(count + 1));
        joined.ok().map(|_| Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn records(coordinator: &CoordinatorHandle, filter: RecordFilter) -> Result<Response, ApiError> {
    let place = coordinator.watchers().join().ok_or_else(|| {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, format!("{MAX_WATCHERS} clients are watching already"))
            .about("watch")
            .later()
    })?;
    let watch = Watch {
        changes: coordinator.subscribe(),
        filter,
        token: coordinator.token(),
        metrics: coordinator.metrics().clone(),
        over: false,
        _place: place,
    };
    Ok(Sse::new(watch.stream()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Watch {
    changes: Receiver<Arc<AppliedPod>>,
    filter: RecordFilter,
    token: CancellationToken,
    metrics: Metrics,
    over: bool,
    _place: Place,
}

impl Watch {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, |mut watch| async move {
            let event = watch.next().await?;
            Some((Ok(event), watch))
        })
    }

    /// `None` ends the answer.
    async fn next(&mut self) -> Option<Event> {
        while !self.over {
            // Cancel-safe per docs of `recv`.
            let change = tokio::select! {
                () = self.token.cancelled() => return None,
                change = self.changes.recv() => change,
            };
            match change {
                Ok(change) if !change.late && self.filter.matches(&change.record, &change.labels) => {
                    // A record that JSON cannot hold does not exist: every map in it has text as its key.
                    match Event::default().event("record").id(&change.record.identity.pod_uid).json_data(&change.record) {
                        Ok(event) => return Some(event),
                        Err(err) => tracing::error!(error = &err as &dyn std::error::Error, "failed to write a record as JSON"),
                    }
                }
                Ok(_) => {}
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(missed)) => {
                    self.over = true;
                    self.metrics.watchers_dropped.inc();
                    return Some(Event::default().event("lagged").data(format!("{{\"missed\":{missed}}}")));
                }
            }
        }
        None
    }
}
