//! Live logs by the API server: it has the newest run of a container and the one before it.

use std::io;

use bytes::Bytes;
use futures::{AsyncBufReadExt, StreamExt};
use jobmeter_protocol::LogRead;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};

use super::{LiveError, LiveRun};
use crate::objects::{ByteStream, ObjectError};

pub(super) async fn open(client: &kube::Client, run: LiveRun, query: &LogRead) -> Result<ByteStream, LiveError> {
    let log = run.log;
    let previous = log.attempt + 1 == run.newest;
    if log.attempt != run.newest && !previous {
        let why =
            format!("the API server has only the last two runs of container {}, and run {} is older", log.container, log.attempt);
        return Err(LiveError::NotThere { why });
    }
    let parameters = LogParams {
        container: Some(log.container.clone()),
        follow: query.follow && !previous,
        previous,
        since_time: query.since,
        timestamps: query.timestamps,
        ..LogParams::default()
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &log.namespace);
    let name = format!("{}/{}", log.namespace, log.pod);
    let opened = pods.log_stream(&log.pod, &parameters).await.map_err(|err| match err {
        kube::Error::Api(status) if status.code == 403 => {
            LiveError::Forbidden { namespace: log.namespace.clone(), pod: log.pod.clone(), why: status.message.clone() }
        }
        // 400: the container waits to start. 404: the pod went just now.
        kube::Error::Api(status) if matches!(status.code, 400 | 404) => LiveError::NotThere { why: status.message.clone() },
        err => LiveError::Failed { log: name.clone(), source: Box::new(err) },
    })?;
    let failed = move |source: io::Error| ObjectError::Failed { action: "read", key: name.clone(), source: Box::new(source) };
    let chunks = futures::stream::try_unfold(Box::pin(opened), |mut lines| async move {
        let chunk = Bytes::copy_from_slice(lines.fill_buf().await?);
        lines.consume_unpin(chunk.len());
        Ok::<_, io::Error>((!chunk.is_empty()).then_some((chunk, lines)))
    });
    Ok(chunks.map(move |chunk| chunk.map_err(&failed)).boxed())
}
