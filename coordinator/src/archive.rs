//! Closed records go to the object store: compressed JSON lines, by cluster and by the date that the job's pod ended.
//!
//! ```text
//! records/<cluster>/date=2026-11-21/<nanoseconds>-<uid>-<number>.jsonl.zst      named after its first record
//! ```
//! Inputs: the store's queue of closed records. Outputs: objects. A batch leaves the queue after all of its objects were
//! taken; one that is repeated begins with the same records, so it overwrites the same objects. A record that was amended is
//! archived again: of two with one pod's UID the later `recorded` counts.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use axum::body::Bytes;
use jiff::tz::TimeZone;
use prometheus::{IntCounter, Registry};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::export::ArchiveConfig;
use crate::metrics::table;
use crate::objects::{Attributes, ObjectError, Objects};
use crate::store::{Archivable, Store, StoreError};

/// What is in memory at a time, before compression.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_RECORDS: u32 = 5_000;
/// Level 3 is zstd's own default.
const LEVEL: i32 = 3;
const ATTRIBUTES: Attributes = Attributes { content_type: "application/zstd", content_encoding: None };

#[derive(Clone, Debug)]
pub struct ArchiveMetrics {
    records: IntCounter,
    failures: IntCounter,
}

#[derive(Clone)]
pub struct Archive {
    pub store: Store,
    pub objects: Objects,
    pub config: ArchiveConfig,
    pub cluster: String,
    pub metrics: ArchiveMetrics,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("failed to compress records")]
    Compress(#[source] std::io::Error),
}

impl ArchiveMetrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name| -> Result<IntCounter, prometheus::Error> {
            let metric = table::find(name);
            let counter = IntCounter::new(metric.name, metric.help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Self { records: counter("jobmeter_archive_records_total")?, failures: counter("jobmeter_archive_failures_total")? })
    }
}

impl Archive {
    pub async fn run(self, token: CancellationToken) -> anyhow::Result<()> {
        let mut due = interval(self.config.interval.max(Duration::from_secs(1)));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Cancel-safe per docs of `tick`; a batch that is given up is repeated.
            let done = tokio::select! {
                () = token.cancelled() => return Ok(()),
                _ = due.tick() => tokio::select! {
                    () = token.cancelled() => return Ok(()),
                    done = self.everything() => done,
                },
            };
            // The next tick is the retry.
            if let Err(err) = done {
                self.metrics.failures.inc();
                tracing::warn!(error = &err as &dyn std::error::Error, "records could not be archived yet");
            }
        }
    }

    /// All that is closed now, batch by batch. How many records there were.
    pub async fn everything(&self) -> Result<u64, ArchiveError> {
        let mut archived = 0;
        if self.objects.is_directory() && !self.config.directory {
            return Ok(archived);
        }
        loop {
            let batch = self.store.to_archive(BATCH_RECORDS, BATCH_BYTES).await?;
            let Some(last) = batch.last().map(|record| record.seq) else { return Ok(archived) };
            let records = batch.len() as u64;
            for (key, lines) in objects(&self.cluster, batch) {
                let compressed = tokio::task::spawn_blocking(move || compress(&lines)).await;
                let compressed = compressed.map_err(|err| ArchiveError::Compress(err.into()))?;
                self.objects.put(&key, &ATTRIBUTES, compressed.map_err(ArchiveError::Compress)?).await?;
            }
            self.store.archived(last).await?;
            self.metrics.records.inc_by(records);
            archived += records;
        }
    }
}

/// Key and records of each object. `batch` is not empty, and in the order of closing.
fn objects(cluster: &str, batch: Vec<Archivable>) -> BTreeMap<String, Vec<String>> {
    let mut dates: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for record in batch {
        let ended = record.finished.unwrap_or(record.recorded);
        let date = ended.to_zoned(TimeZone::UTC).date().to_string();
        let name = || {
            let uid: String = record.uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
            // The place in the queue: a record that is amended keeps its time, and must not take the name of an earlier object.
            format!("{}-{uid}-{}", record.recorded.as_nanosecond(), record.seq)
        };
        dates.entry(date).or_insert_with(|| (name(), Vec::new())).1.push(record.record);
    }
    let cluster: String = cluster.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let cluster = if matches!(cluster.as_str(), "" | "." | "..") { String::new() } else { format!("{cluster}/") };
    let key = |date: &str, name: &str| format!("records/{cluster}date={date}/{name}.jsonl.zst");
    dates.into_iter().map(|(date, (name, lines))| (key(&date, &name), lines)).collect()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._=@+-".contains(c)
}

fn compress(lines: &[String]) -> std::io::Result<Bytes> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    for line in lines {
        encoder.write_all(line.as_bytes())?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: i64, finished: Option<&str>, recorded: &str) -> Archivable {
        Archivable {
            seq,
            uid: format!("abcd-{seq}-efgh-ijkl"),
            finished: finished.map(|text| text.parse().unwrap()),
            recorded: recorded.parse().unwrap(),
            record: format!("{{\"n\":{seq}}}"),
        }
    }

    #[test]
    fn records_are_parted_by_the_date_that_they_ended_and_named_after_the_first() {
        let batch = vec![
            record(1, Some("2026-11-20T23:59:59Z"), "2026-11-21T00:00:01Z"),
            record(2, Some("2026-11-21T00:00:00Z"), "2026-11-21T00:00:02Z"),
            record(3, None, "2026-11-21T12:00:00Z"),
        ];
        let objects = objects("site a", batch);
        let keys: Vec<&str> = objects.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "records/site_a/date=2026-11-20/1795219201000000000-abcd1efg-1.jsonl.zst",
                "records/site_a/date=2026-11-21/1795219202000000000-abcd2efg-2.jsonl.zst",
            ]
        );
        assert_eq!(objects[keys[1]], ["{\"n\":2}", "{\"n\":3}"]);
    }

    #[test]
    fn without_a_cluster_there_is_no_segment_for_it() {
        for cluster in ["", ".."] {
            let objects = objects(cluster, vec![record(1, None, "2026-11-21T00:00:00Z")]);
            assert!(objects.keys().all(|key| key.starts_with("records/date=")), "{objects:?}");
        }
    }

    #[test]
    fn the_same_records_are_the_same_bytes() {
        let lines = ["{\"a\":1}".to_owned(), "{\"b\":2}".to_owned()];
        let bytes = compress(&lines).unwrap();
        assert_eq!(bytes, compress(&lines).unwrap());
        assert_eq!(zstd::stream::decode_all(&*bytes).unwrap(), b"{\"a\":1}\n{\"b\":2}\n");
    }
}
