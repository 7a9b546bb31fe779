//! What the logs need now and then: the directory's retention by age and by bytes, rows that nobody needs any more, uploads
//! that were begun and never ended, and the levels of `/metrics`.

use std::time::Duration;

use jiff::Timestamp;
use jobmeter_protocol::LogState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{LogError, Logs, manifest_key, shown, times_key};
use crate::objects::ObjectError;
use crate::store::logs::{LogChange, LogRow};
use crate::store::{Change, Retention};

const LEVELS: Duration = Duration::from_secs(15);
const CLEANING: Duration = Duration::from_secs(600);
/// An upload of parts may take a day; whoever needs longer begins anew.
const STALE_UPLOAD: Duration = Duration::from_secs(48 * 3600);
/// Logs deleted in one go.
const STEP: u32 = 500;

pub(crate) async fn run(logs: Logs, records: Retention, token: CancellationToken) -> anyhow::Result<()> {
    let mut levels = interval(LEVELS);
    let mut cleaning = interval(CLEANING);
    levels.set_missed_tick_behavior(MissedTickBehavior::Delay);
    cleaning.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe per docs of `tick`; what a cleaning leaves the next one finds.
        let done = tokio::select! {
            () = token.cancelled() => return Ok(()),
            _ = levels.tick() => logs.levels().await,
            _ = cleaning.tick() => tokio::select! {
                () = token.cancelled() => return Ok(()),
                done = logs.clean(records, Timestamp::now()) => done,
            },
        };
        // The next tick is the retry.
        if let Err(err) = done {
            tracing::warn!(error = &err as &dyn std::error::Error, "upkeep of the logs failed");
        }
    }
}

impl Logs {
    async fn levels(&self) -> Result<(), LogError> {
        let totals = self.0.store.log_totals().await?;
        let is_directory = self.0.objects.is_directory();
        self.0.metrics.log_levels(totals.expected, is_directory.then_some(totals.object_bytes));
        Ok(())
    }

    pub(crate) async fn clean(&self, records: Retention, now: Timestamp) -> Result<(), LogError> {
        let is_directory = self.0.objects.is_directory();
        if is_directory {
            self.retain(now).await?;
        }
        let before = ago(now, records.max_age);
        while self.0.store.prune_logs(before, is_directory).await? > 0 {}
        let aborted = match self.0.objects.abort_stale(STALE_UPLOAD).await {
            Ok(aborted) => aborted,
            // Not everybody who may put objects may list uploads.
            Err(err @ ObjectError::Refused { .. }) => {
                tracing::info!(error = &err as &dyn std::error::Error, "old uploads are left to the store's lifecycle rules");
                0
            }
            // Not noted as trouble: housekeeping that fails is no reason to hold tickets back.
            Err(err) => {
                self.0.metrics.object_store_failed("abort");
                return Err(err.into());
            }
        };
        if aborted > 0 {
            tracing::info!(uploads = aborted, "uploads that were never completed removed");
        }
        Ok(())
    }

    /// Oldest first, until both limits hold.
    async fn retain(&self, now: Timestamp) -> Result<(), LogError> {
        let retention = self.0.config.retention;
        let mut bytes = self.0.store.log_totals().await?.object_bytes;
        let mut expired: u64 = 0;
        loop {
            // A log that takes a notice's place while the notice expires would go with it, and its agent's copy too.
            let _no_end = self.0.ends.write().await;
            let oldest = self.0.store.oldest_logs(STEP).await?;
            let more = oldest.len() == STEP as usize;
            let mut changes = Vec::new();
            for row in oldest {
                let aged = retention.max_age.is_some_and(|age| row.stored.is_some_and(|stored| stored < ago(now, age)));
                let excess = retention.max_bytes.is_some_and(|most| bytes > most);
                if !(aged || excess) {
                    break;
                }
                self.delete(&row).await?;
                bytes = bytes.saturating_sub(row.object_bytes + row.times_bytes.unwrap_or_default());
                changes.push(Change::Log { log: row.log, change: Box::new(LogChange::Expired) });
            }
            let count = changes.len();
            if count > 0 {
                self.0.store.apply(changes, now).await?;
                expired += count as u64;
            }
            if count < STEP as usize || !more {
                break;
            }
        }
        if expired > 0 {
            tracing::info!(logs = expired, "old logs deleted");
        }
        Ok(())
    }

    /// The manifest last: while it is there, the log is known to have been.
    async fn delete(&self, row: &LogRow) -> Result<(), LogError> {
        tracing::debug!(log = shown(&row.log), key = row.key, lost = matches!(row.state, LogState::Lost { .. }), "log expires");
        for key in [row.key.clone(), times_key(&row.key), manifest_key(&row.key)] {
            self.noted("delete", self.0.objects.delete(&key).await)?;
        }
        Ok(())
    }
}

fn ago(now: Timestamp, age: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(age).ok().and_then(|age| now.checked_sub(age).ok()).unwrap_or(Timestamp::MIN)
}
