//! Opening one log, and waiting for one that is on its way. In: which log. Out: its bytes as a stream, or why there are none.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use jobmeter_protocol::{LogEntry, LogQuery, LogRead, LogState};
use tokio::time::Instant;

use super::pick::Picked;
use super::tell;
use crate::output::bytes;
use crate::source::{LogAnswer, LogBytes, LogText, Source, SourceError};

/// Pauses between two questions about a log that is on its way: from the first, doubling, to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Of the notice that stands in the place of a lost log.
const NOTICE: usize = 4 * 1024;

/// How logs are to be read.
pub(super) struct Reading<'a> {
    pub(super) source: &'a Source,
    pub(super) follow: bool,
    pub(super) timestamps: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) patience: Duration,
    /// One did not come in time: the others had as long, and are not waited for one after the other.
    pub(super) late: AtomicBool,
}

/// Why one log is not shown, or not to its end. The others may be.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRead {
    #[error("the log is lost: {why}")]
    Lost { why: String },
    #[error("the log has expired: it was stored, and deleted by age or for room")]
    Expired,
    #[error("there is no log{}", colon(.said))]
    Nothing { said: String },
    #[error(
        "the log is still not here after {}{}; `jobmeter logs {pod} --list` shows what is known of it",
        humantime::format_duration(*.waited),
        colon(.said)
    )]
    Late { pod: String, waited: Duration, said: String },
    #[error("the log broke off on its way: {0}")]
    Broken(io::Error),
}

fn colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl Reading<'_> {
    /// The outer error is that of the source: nothing else will be answered either.
    pub(super) async fn open(&self, log: &Picked<'_>) -> Result<Result<LogText, NotRead>, SourceError> {
        match entry(log).map(|entry| &entry.state) {
            Some(LogState::Lost { why }) => return Ok(Err(NotRead::Lost { why: why.clone() })),
            Some(LogState::Expired) => return Ok(Err(NotRead::Expired)),
            Some(LogState::Expected | LogState::Complete | LogState::Truncated { .. }) | None => {}
        }
        let read = self.question(log);
        let patience = if self.late.load(Ordering::Relaxed) { Duration::ZERO } else { self.patience };
        let give_up = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        loop {
            let (said, after) = match self.source.read_log(&log.pod.namespace, &log.pod.name, &read).await? {
                LogAnswer::Here(text) if text.state.as_deref() == Some("lost") => {
                    return Ok(Err(NotRead::Lost { why: notice(text.bytes).await }));
                }
                LogAnswer::Here(text) => {
                    if let Some(notice) = &text.notice {
                        tell(&format!("{}: {notice}", log.name()));
                    }
                    return Ok(Ok(text));
                }
                LogAnswer::Nothing { said } => return Ok(Err(NotRead::Nothing { said })),
                LogAnswer::NotYet { said, after } => (said, after),
            };
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.late.store(true, Ordering::Relaxed);
                return Ok(Err(NotRead::Late { pod: log.pod.name.clone(), waited: self.patience, said }));
            }
            if !std::mem::replace(&mut told, true) {
                let (name, patience) = (log.name(), humantime::format_duration(self.patience));
                tell(&format!("{name}: the log is on its way{}; waiting up to {patience}", colon(&said)));
            }
            tokio::time::sleep(after.unwrap_or(pause).min(left)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn question(&self, log: &Picked<'_>) -> LogRead {
        LogRead {
            uid: Some(log.pod.uid.clone()),
            container: log.run.map(|run| run.container.as_str()).or(log.container).map(str::to_owned),
            attempt: log.attempt,
            previous: false,
            follow: self.follow,
            timestamps: self.timestamps,
            since: self.since,
        }
    }

    /// After a log was shown: what it lacks, as sentences. `state`: of the answer.
    pub(super) async fn what_it_lacks(&self, log: &Picked<'_>, state: Option<&str>) -> Result<Vec<String>, SourceError> {
        if let Some(entry) = entry(log).filter(|entry| matches!(entry.state, LogState::Truncated { .. })) {
            return Ok(holes(entry));
        }
        if state != Some("truncated") {
            return Ok(Vec::new());
        }
        let query = LogQuery { pod: Some(log.pod.uid.clone()), ..LogQuery::default() };
        let entries: Vec<Vec<LogEntry>> = self.source.all_logs(&query).try_collect().await?;
        let same = |entry: &LogEntry| {
            let container = log.run.map(|run| run.container.as_str()).or(log.container);
            container.is_none_or(|container| container == entry.log.container)
                && log.attempt.is_none_or(|attempt| attempt == entry.log.attempt)
        };
        let lacks = entries.iter().flatten().find(|entry| same(entry)).map(holes);
        Ok(lacks.unwrap_or_else(|| vec!["nobody says what".to_owned()]))
    }
}

fn entry<'a>(log: &Picked<'a>) -> Option<&'a LogEntry> {
    log.run?.entry.as_ref()
}

fn holes(entry: &LogEntry) -> Vec<String> {
    let missing = entry.content.iter().flat_map(|content| &content.missing);
    let known: Vec<String> = missing
        .map(|hole| match hole.raw_bytes {
            Some(size) => format!("{} ({})", hole.why, bytes(size)),
            None => hole.why.clone(),
        })
        .collect();
    match &entry.state {
        LogState::Truncated { why } if known.is_empty() => vec![why.clone()],
        _ => known,
    }
}

async fn notice(mut text: LogBytes) -> String {
    let mut said = Vec::new();
    while let Some(Ok(chunk)) = text.next().await {
        said.extend_from_slice(&chunk);
        if said.len() >= NOTICE {
            said.truncate(NOTICE);
            break;
        }
    }
    String::from_utf8_lossy(&said).trim().replace('\n', "; ")
}
