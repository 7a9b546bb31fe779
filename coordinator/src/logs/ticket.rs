//! Tickets: whether a log is to be uploaded, and under which key. The key is durable before the answer.

use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::logs::{TicketReply, TicketRequest, UploadPolicy};
use jobmeter_protocol::{LogId, LogState};

use super::{LogError, Logs, compression};
use crate::ingest::{valid_name, valid_uid};
use crate::store::logs::{LogChange, LogRow};
use crate::store::{Applied, Change};

const MIB: u64 = 1024 * 1024;
const WHOLE_BYTES: u64 = 16 * MIB;
const PART_BYTES: u64 = 8 * MIB;
/// S3 takes 10,000 parts; one log may have some more bytes when it ends than it had when it was asked about.
const MOST_PARTS: u64 = 9_000;
/// A pod that nobody tells of for so long is no job: jobs are told of within seconds.
const UNKNOWN: SignedDuration = SignedDuration::from_mins(10);
/// An agent asks every minute at the latest.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(20);
/// Pods that may wait so; beyond it they only wait longer.
const MAX_WAITED: usize = 10_000;
/// Seconds.
const SOON: u32 = 2;
const LATER: u32 = 15;

impl Logs {
    pub(crate) async fn ticket(&self, request: &TicketRequest, now: Timestamp) -> Result<TicketReply, LogError> {
        let log = &request.log;
        check(request.version, &request.node, log)?;
        if !self.0.config.enabled {
            return Ok(TicketReply::NotAJob { why: LogError::Disabled.to_string() });
        }
        if let Some(row) = self.0.store.log(log).await? {
            return Ok(self.answer(request, &row, now));
        }
        if let Some(pod) = self.0.store.log_pod(&log.pod_uid).await?
            && let Some(record) = pod.record
        {
            let not_known = |what: &str| later(format!("of pod {}/{} {what} not known yet", log.namespace, log.pod), SOON);
            if !(pod.resolved || pod.closed) {
                return Ok(not_known("its owners are"));
            }
            // Whoever asks first has the log: a node must not take that of a pod which is still to be placed.
            if pod.present && record.identity.node.is_none() {
                return Ok(not_known("its node is"));
            }
        }
        let asked = LogChange::Asked { node: request.node.clone() };
        let change = Change::Log { log: log.clone(), change: Box::new(asked) };
        Ok(match self.0.store.apply(vec![change], now).await?.pop() {
            Some(Applied::Log(applied)) => {
                self.forget(log);
                self.answer(request, &applied.row, now)
            }
            Some(Applied::Discarded) => {
                self.forget(log);
                TicketReply::NotAJob { why: format!("pod {}/{} is no job by its owners", log.namespace, log.pod) }
            }
            Some(Applied::Refused { why }) => TicketReply::Rejected { why },
            Some(Applied::Unreadable { uid, why }) => {
                later(format!("what the coordinator has stored of pod {uid} cannot be read: {why}"), LATER)
            }
            Some(Applied::Nothing | Applied::Pod(_) | Applied::Job { .. }) | None => self.unknown(request, now),
        })
    }

    fn answer(&self, request: &TicketRequest, row: &LogRow, now: Timestamp) -> TicketReply {
        if let Err(why) = fits(row, &request.log, &request.node) {
            return TicketReply::Rejected { why };
        }
        let was_stored = row.is_stored() || row.state == LogState::Expired;
        // Less of it than is stored whole: a spool that was emptied, on a node where files of it are left.
        let is_less = row.state == LogState::Complete && row.raw_bytes > Some(request.raw_bytes);
        if was_stored && (row.raw_bytes == Some(request.raw_bytes) || is_less) {
            return TicketReply::Stored { key: row.key.clone() };
        }
        if let Some((why, seconds)) = self.0.trouble.now(now) {
            return later(why, seconds);
        }
        let policy = policy(self.0.config.format, &row.key, request.raw_bytes);
        TicketReply::Ticket { key: row.key.clone(), policy, ca_pem: self.0.objects.ca_pem() }
    }

    /// Neither the API server nor an agent has told of this pod.
    fn unknown(&self, request: &TicketRequest, now: Timestamp) -> TicketReply {
        let log = &request.log;
        let (world, uid) = (&self.0.world, &log.pod_uid);
        let not_told = |why: &str| later(format!("nothing is known of pod {}/{}: {why}", log.namespace, log.pod), LATER);
        if request.job == Some(true) {
            return not_told("its agent takes it for a job, and its record is to come");
        }
        if !world.is_synced() {
            return not_told("the cluster's pods are still being listed");
        }
        if world.is_undecided(uid) {
            return not_told("its owners are being looked up");
        }
        let mut waited = self.0.waited.lock().unwrap_or_else(PoisonError::into_inner);
        if waited.len() >= MAX_WAITED {
            // Nobody asked again: the agent learned it, or went away with its node.
            waited.retain(|_, since| now.duration_since(*since) < FORGOTTEN);
        }
        let is_full = waited.len() >= MAX_WAITED;
        let since = match waited.get(uid) {
            Some(since) => *since,
            None if is_full => return not_told("too many such pods are waited for"),
            None => *waited.entry(uid.clone()).or_insert(now),
        };
        if now.duration_since(since) < UNKNOWN {
            return not_told("it may still be told of");
        }
        waited.remove(uid);
        TicketReply::NotAJob { why: format!("nobody told of pod {}/{} as a job within 10 minutes", log.namespace, log.pod) }
    }

    fn forget(&self, log: &LogId) {
        self.0.waited.lock().unwrap_or_else(PoisonError::into_inner).remove(&log.pod_uid);
    }
}

fn later(why: String, seconds: u32) -> TicketReply {
    TicketReply::Later { why, seconds }
}

/// Parts as large as it takes for a log of this size to have few enough of them.
fn policy(format: jobmeter_protocol::LogFormat, key: &str, raw_bytes: u64) -> UploadPolicy {
    let part = raw_bytes.div_ceil(MOST_PARTS).div_ceil(MIB) * MIB;
    UploadPolicy {
        format,
        compression: compression(key),
        whole_bytes: WHOLE_BYTES,
        part_bytes: part.clamp(PART_BYTES, super::MAX_PIECE),
    }
}

/// What every call of an agent must look like.
pub(super) fn check(version: u32, node: &str, log: &LogId) -> Result<(), LogError> {
    if version != jobmeter_protocol::VERSION {
        return Err(LogError::Version { found: version });
    }
    let short = |text: &str| text.chars().take(64).collect::<String>();
    let named = [("node", node), ("namespace", &log.namespace), ("pod", &log.pod), ("container", &log.container)];
    for (subject, name) in named {
        if !valid_name(name) {
            return Err(LogError::Invalid { subject, why: format!("{:?} is no name", short(name)) });
        }
    }
    if !valid_uid(&log.pod_uid) {
        return Err(LogError::Invalid { subject: "pod_uid", why: format!("{:?} is no UID", short(&log.pod_uid)) });
    }
    Ok(())
}

/// Whether the row is of this very log, and on this node.
pub(super) fn fits(row: &LogRow, log: &LogId, node: &str) -> Result<(), String> {
    if row.log != *log {
        let known = format!("{}/{}", row.log.namespace, row.log.pod);
        return Err(format!("pod {} is {known}, not {}/{}", log.pod_uid, log.namespace, log.pod));
    }
    match row.node.as_deref() {
        Some(known) if known != node => Err(format!("the pod is on node {known:?}, not on {node:?}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_log_has_few_enough_parts_and_an_ordinary_one_small_parts() {
        let parts = |raw_bytes| policy(jobmeter_protocol::LogFormat::Text, "a.log", raw_bytes).part_bytes;
        assert_eq!(parts(2 << 30), 8 * MIB);
        assert_eq!(parts(200 << 30), 23 * MIB);
        assert!((200_u64 << 30).div_ceil(parts(200 << 30)) <= MOST_PARTS);
    }

    #[test]
    fn the_key_says_how_it_is_compressed_also_when_the_configuration_changed() {
        let of = |key| policy(jobmeter_protocol::LogFormat::Text, key, 1).compression;
        assert_eq!(of("a.log"), jobmeter_protocol::Compression::None);
        assert_eq!(of("a.log.gz"), jobmeter_protocol::Compression::Gzip);
        assert_eq!(of("a.log.zst"), jobmeter_protocol::Compression::Zstd);
    }
}
