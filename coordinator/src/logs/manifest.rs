//! The object beside each log: what is in it, or why it is not there.

use std::collections::BTreeSet;

use axum::body::Bytes;
use jobmeter_protocol::{LogManifest, VERSION};

use super::{LogError, Logs, manifest_key};
use crate::objects::{Attributes, ObjectError};
use crate::store::logs::LogRow;

/// Times above this stay in the ledger alone: a manifest is for reading.
const MAX_TIMES: usize = 4 * 1024;

const JSON: Attributes = Attributes { content_type: "application/json", content_encoding: None };

impl Logs {
    /// `row` as it will be in the ledger.
    pub(super) async fn put_manifest(&self, row: &LogRow) -> Result<(), LogError> {
        if !self.0.config.manifests {
            return Ok(());
        }
        let pod = self.0.store.log_pod(&row.log.pod_uid).await?;
        let mut containers: Vec<String> = Vec::new();
        if let Some(pod) = pod {
            let of_spec = pod.api.into_iter().flat_map(|api| api.containers).map(|container| container.name);
            let of_record = pod.record.into_iter().flat_map(|record| record.containers).map(|container| container.name);
            let of_logs = pod.rows.into_iter().map(|row| row.log.container);
            let mut seen = BTreeSet::new();
            let all = of_spec.chain(of_record).chain(of_logs);
            containers.extend(all.filter(|name| !name.is_empty() && seen.insert(name.clone())));
        }
        let mut entry = row.entry();
        if let Some(content) = &mut entry.content {
            content.times = content.times.take().filter(|times| times.len() <= MAX_TIMES);
        }
        let manifest = LogManifest { version: VERSION, cluster: self.0.cluster.clone(), job: row.job.clone(), containers, entry };
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(|source| ObjectError::Failed {
            action: "write",
            key: manifest_key(&row.key),
            source: Box::new(source),
        })?;
        text.push(b'\n');
        let put = self.0.objects.put(&manifest_key(&row.key), &JSON, Bytes::from(text)).await;
        Ok(self.noted("put", put)?)
    }
}
