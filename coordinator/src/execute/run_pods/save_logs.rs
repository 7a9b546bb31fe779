//! Copies the logs of a pod of a run beside the run's reports: `<node>-container-<container>.log`.
//!
//! In: the API server's `pods/log`. Out: one file for each container and init container, whole or not there at all. Owner: whoever ends
//! the pod. Never more than one piece of a log is in memory.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use jobmeter_daemon::error::chain;
use jobmeter_decide::runs::RunPod;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::runs::reports::{RunFiles, log_name};

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
    let files = {
        let directory = directory.to_owned();
        blocking(move || RunFiles::there(&directory)).await
    };
    let files = files.map_err(|err| {
        let why = format!("{}: {err}", directory.display());
        SaveLogsError::Failed { namespace: namespace.clone(), pod: name.clone(), why }
    })?;
    let mut problems = Vec::new();
    for container in containers(&there) {
        let file = log_name(&pod.node, container);
        let saved = timeout(WHOLE, copy(&pods, (&name, container), (&files, &file), MOST_BYTES)).await;
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

/// Of a pod and container, into a file: as all that is posted, through the directory's descriptor, and following no link.
async fn copy(
    pods: &Api<Pod>,
    (pod, container): (&str, &str),
    (files, name): (&RunFiles, &str),
    most: u64,
) -> Result<(), String> {
    let failed = |err: io::Error| format!("{name}: {err}");
    // One more, to know whether there is more.
    let limit_bytes = i64::try_from(most.saturating_add(1)).ok();
    let parameters = LogParams { container: Some(container.to_owned()), limit_bytes, ..LogParams::default() };
    let opened = timeout(CALL, pods.log_stream(pod, &parameters)).await.map_err(|_| silent())?;
    let mut log = std::pin::pin!(opened.map_err(|err| chain(&err))?);
    let (into, named) = (files.clone(), name.to_owned());
    let (file, unnamed) = blocking(move || Ok(into.fresh()?.split())).await.map_err(failed)?;
    let mut file = File::from_std(file);
    let whole = fill(&mut file, &mut log, most).await.map_err(failed)?;
    if !whole {
        let notice = format!("\n[jobmeter: cut here; only the first {most} bytes of this log are saved]\n");
        file.write_all(notice.as_bytes()).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    let (fresh, into) = (unnamed.join(file.into_std().await), files.clone());
    blocking(move || into.publish(fresh, &named)).await.map_err(failed)
}

/// Whether that was all.
async fn fill(file: &mut File, log: &mut (impl AsyncBufRead + Unpin), most: u64) -> io::Result<bool> {
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
        file.write_all(&piece[..take]).await?;
        log.consume_unpin(take);
        left -= take as u64;
    }
}

/// On a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten()
}

fn silent() -> String {
    format!("no answer within {} seconds", CALL.as_secs())
}

#[cfg(test)]
mod tests;
