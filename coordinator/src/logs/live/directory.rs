//! Live logs of local jobs: files that grow. To follow one is to read it again until its container has ended.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use jobmeter_protocol::{LogId, LogRead};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{LiveError, Opened};
use crate::objects::ObjectError;
use crate::store::Store;

const CHUNK: usize = 64 * 1024;
/// As fast as anybody can read; a look at the end of a file costs microseconds.
const LOOK: Duration = Duration::from_millis(100);

const NO_TIMES: &str = "local jobs' output has no times while they run: all lines are shown as they are";

struct Tail {
    file: File,
    log: LogId,
    store: Store,
    /// `None`: what is there now, and no more.
    look: Option<Interval>,
    /// The container had ended before the file was read to its end.
    over: bool,
}

pub(super) async fn open(root: &Path, store: &Store, log: LogId, query: &LogRead) -> Result<Opened, LiveError> {
    let directory = format!("{}_{}_{}", log.namespace, log.pod, log.pod_uid);
    let path = root.join(directory).join(&log.container).join(format!("{}.log", log.attempt));
    let name = path.display().to_string();
    let file = File::open(&path).await.map_err(|err| match err.kind() {
        io::ErrorKind::NotFound => LiveError::NotThere { why: format!("container {} has written nothing yet", log.container) },
        _ => LiveError::Failed { log: name.clone(), source: Box::new(err) },
    })?;
    let look = query.follow.then(|| {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look
    });
    let notice = (query.timestamps || query.since.is_some()).then_some(NO_TIMES);
    let tail = Tail { file, log, store: store.clone(), look, over: false };
    let chunks = futures::stream::try_unfold(tail, |mut tail| async move {
        let chunk = tail.next().await?;
        Ok((!chunk.is_empty()).then_some((chunk, tail)))
    });
    let failed = move |source: io::Error| ObjectError::Failed { action: "read", key: name.clone(), source: Box::new(source) };
    Ok((chunks.map(move |chunk| chunk.map_err(&failed)).boxed(), notice))
}

impl Tail {
    /// Empty at the end.
    async fn next(&mut self) -> io::Result<Bytes> {
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            if self.file.read_buf(&mut chunk).await? > 0 || self.over {
                return Ok(Bytes::from(chunk));
            }
            let Some(look) = &mut self.look else { return Ok(Bytes::new()) };
            look.tick().await;
            // Asked before the file is read once more: what was written until the end is read after it.
            self.over = self.has_ended().await?;
        }
    }

    async fn has_ended(&self) -> io::Result<bool> {
        let record = self.store.record(&self.log.pod_uid).await.map_err(io::Error::other)?;
        let runs = record.iter().flat_map(|record| &record.containers);
        let mut runs = runs.filter(|run| run.name == self.log.container && run.attempt >= self.log.attempt);
        // Without a record nobody will ever tell.
        Ok(record.is_none() || runs.any(|run| run.attempt > self.log.attempt || run.finished.is_some()))
    }
}
