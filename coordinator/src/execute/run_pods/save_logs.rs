//! Copies the logs of a pod of a run beside the run's reports: `<node>-container-<container>.log`.
//!
//! In: the API server's `pods/log`. Out: one file for each container and init container, whole or not there at all. Owner: whoever ends
//! the pod. Never more than one piece of a log is in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use jobmeter_daemon::error::chain;
use jobmeter_decide::runs::RunPod;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// Of one container.
const MOST_BYTES: u64 = 64 << 20;
/// Until the API server answers, and between two pieces.
const CALL: Duration = Duration::from_secs(15);
/// Of one container.
const WHOLE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveLogsError {
    /// It went before its logs were read.
    #[error("the logs of pod {namespace}/{pod} were not saved: it is gone")]
    Gone { namespace: String, pod: String },
    /// Those of the other containers were.
    #[error("not every log of pod {namespace}/{pod} was saved: {why}")]
    Failed { namespace: String, pod: String, why: String },
}

pub(super) async fn save(pods: Api<Pod>, pod: &RunPod, directory: &Path) -> Result<(), SaveLogsError> {
    let (namespace, name) = (pod.namespace.clone(), pod.name.clone());
    let there = match timeout(CALL, pods.get_opt(&name)).await {
        Ok(Ok(Some(there))) if there.metadata.uid.as_ref() == Some(&pod.uid) => there,
        Ok(Ok(_)) => return Err(SaveLogsError::Gone { namespace, pod: name }),
        Ok(Err(err)) => return Err(SaveLogsError::Failed { namespace, pod: name, why: chain(&err) }),
        Err(_) => return Err(SaveLogsError::Failed { namespace, pod: name, why: silent() }),
    };
    let mut problems = Vec::new();
    for container in containers(&there) {
        let path = directory.join(format!("{}-container-{container}.log", pod.node));
        let saved = timeout(WHOLE, copy(&pods, &name, container, &path, MOST_BYTES)).await;
        let saved = saved.unwrap_or_else(|_| Err(format!("not done within {} seconds", WHOLE.as_secs())));
        problems.extend(saved.err().map(|why| format!("container {container}: {why}")));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(SaveLogsError::Failed { namespace, pod: name, why: problems.join("; ") })
}

/// That ever ran: of the others there is no log.
fn containers(pod: &Pod) -> Vec<&str> {
    let status = pod.status.as_ref();
    let init = status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let main = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ran = |id: &Option<String>| id.as_ref().is_some_and(|id| !id.is_empty());
    init.chain(main).filter(|status| ran(&status.container_id)).map(|status| status.name.as_str()).collect()
}

async fn copy(pods: &Api<Pod>, pod: &str, container: &str, path: &Path, most: u64) -> Result<(), String> {
    // One more, to know whether there is more.
    let limit_bytes = i64::try_from(most.saturating_add(1)).ok();
    let parameters = LogParams { container: Some(container.to_owned()), limit_bytes, ..LogParams::default() };
    let opened = timeout(CALL, pods.log_stream(pod, &parameters)).await.map_err(|_| silent())?;
    let mut log = std::pin::pin!(opened.map_err(|err| chain(&err))?);
    let mut draft = Draft::create(path).await.map_err(|err| failed(path, &err))?;
    let whole = draft.fill(&mut log, most).await.map_err(|err| failed(path, &err))?;
    if !whole {
        let notice = format!("\n[jobmeter: cut here; only the first {most} bytes of this log are saved]\n");
        draft.file.write_all(notice.as_bytes()).await.map_err(|err| failed(path, &err))?;
    }
    draft.keep(path).await.map_err(|err| failed(path, &err))
}

/// A file that is not there unless it is whole.
struct Draft {
    file: File,
    /// Empty once it is kept.
    path: PathBuf,
}

impl Draft {
    async fn create(path: &Path) -> io::Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".part");
        let path = path.with_file_name(name);
        // As batch-job-controller has it: whoever serves the reports may read it.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).await?;
        Ok(Self { file, path })
    }

    /// Whether that was all.
    async fn fill(&mut self, log: &mut (impl AsyncBufRead + Unpin), most: u64) -> io::Result<bool> {
        let mut left = most;
        loop {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, silent());
            let piece = timeout(CALL, log.fill_buf()).await.map_err(late)??;
            if piece.is_empty() {
                return Ok(true);
            }
            if left == 0 {
                return Ok(false);
            }
            let take = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.file.write_all(&piece[..take]).await?;
            log.consume_unpin(take);
            left -= take as u64;
        }
    }

    async fn keep(mut self, path: &Path) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_data().await?;
        tokio::fs::rename(&self.path, path).await?;
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        if let Err(err) = std::fs::remove_file(&self.path)
            && err.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), error = &err as &dyn std::error::Error, "a half-saved log was not removed");
        }
    }
}

fn failed(path: &Path, err: &io::Error) -> String {
    format!("{}: {err}", path.display())
}

fn silent() -> String {
    format!("no answer within {} seconds", CALL.as_secs())
}

#[cfg(test)]
mod tests;
