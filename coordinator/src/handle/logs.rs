//! The calls about logs: of agents, in this process or over HTTP, and of people.

use std::sync::Arc;

use axum::body::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use jobmeter_protocol::logs::{
    CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, TargetsReply, TargetsRequest, TicketReply, TicketRequest,
};
use jobmeter_protocol::{LogEntry, LogId, LogQuery, LogRead, Page};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::CoordinatorHandle;
use crate::logs::read::{LogReader, LogText, Range, ReadError};
use crate::logs::{LogError, PieceTarget};
use crate::objects::ByteStream;
use crate::store::StoreError;

/// Calls under way at a time. Of their own, so that logs never take the place of reports.
pub(crate) struct LogSlots {
    calls: Arc<Semaphore>,
    /// Each holds a few chunks in memory.
    pieces: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Default for LogSlots {
    fn default() -> Self {
        let slots = |count| Arc::new(Semaphore::new(count));
        Self { calls: slots(64), pieces: slots(32), reads: slots(128) }
    }
}

/// Logs that one heartbeat is asked about; the next one is asked about the rest.
const WANTED_AT_ONCE: usize = 500;

impl CoordinatorHandle {
    pub async fn log_ticket(&self, request: &TicketRequest) -> Result<TicketReply, LogError> {
        self.0.logs.ticket(request, Timestamp::now()).await
    }

    pub async fn log_multipart(&self, request: &MultipartRequest) -> Result<MultipartReply, LogError> {
        self.0.logs.multipart(request).await
    }

    pub async fn log_targets(&self, request: &TargetsRequest) -> Result<TargetsReply, LogError> {
        self.0.logs.targets(request, Timestamp::now()).await
    }

    /// One piece of an agent in this process. Returns its ETag.
    pub async fn log_put(&self, target: &PieceTarget, bytes: Bytes) -> Result<String, LogError> {
        self.log_piece(target, None, futures::stream::iter([Ok(bytes)]).boxed()).await
    }

    pub async fn log_complete(&self, request: &CompleteRequest) -> Result<CompleteReply, LogError> {
        self.0.logs.complete(request, Timestamp::now()).await
    }

    /// Which logs there are, newest first.
    pub async fn logs(&self, query: &LogQuery) -> Result<Page<LogEntry>, StoreError> {
        self.timed(self.0.store.logs(query)).await
    }

    /// The bytes of one log: stored, or live. `pod`: name or UID.
    pub async fn log_read(
        &self,
        namespace: &str,
        pod: &str,
        query: &LogRead,
        range: Option<Range>,
    ) -> Result<LogText, ReadError> {
        let found = self.0.log_reader.find(namespace, pod, query).await?;
        self.0.log_reader.open(found, query, range).await
    }

    /// Deletes what the retention does not allow; done every ten minutes anyway.
    pub async fn clean_logs(&self) -> Result<(), LogError> {
        self.0.logs.clean(self.0.retention, Timestamp::now()).await
    }

    pub(crate) async fn log_piece(
        &self,
        target: &PieceTarget,
        sender: Option<&str>,
        body: ByteStream,
    ) -> Result<String, LogError> {
        self.0.logs.put(target, sender, body).await
    }

    pub(crate) fn log_reader(&self) -> &LogReader {
        &self.0.log_reader
    }

    /// `None`: enough calls are under way.
    pub(crate) fn log_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.0.log_slots.calls.clone().try_acquire_owned().ok()
    }

    pub(crate) fn log_piece_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.0.log_slots.pieces.clone().try_acquire_owned().ok()
    }

    pub(crate) fn log_read_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.0.log_slots.reads.clone().try_acquire_owned().ok()
    }

    pub(super) fn logs_wanted(&self, node: &str) -> Vec<LogId> {
        self.0.logs_wanted.borrow().get(node).into_iter().flatten().take(WANTED_AT_ONCE).cloned().collect()
    }
}
