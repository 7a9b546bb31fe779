//! Results: values for gauges, as JSON. Kept as they came, and told as they are read.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use axum::body::Body;
use jiff::Timestamp;
use jobmeter_protocol::runs::{GaugeValue, Gauges, NodeResult, StoredRun};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::Callbacks;
use super::gate::{Admitted, GateError};
use super::refusal::{TellError, busy};
use crate::api::body;
use crate::api::error::ApiError;
use crate::runs::reports::{self, ReportDirectory};
use crate::runs::view::Posted;

#[derive(Debug, thiserror::Error)]
pub(super) enum ResultError {
    #[error("error decoding result: {0}")]
    Json(#[from] serde_json::Error),
    #[error("results must not be empty")]
    Empty,
    #[error("{name:?} is not a valid metric name")]
    Name { name: String },
    #[error("error saving the result as {file}")]
    Save {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Tell(#[from] TellError),
}

/// Two results of one node are saved and told one after the other, so that file and store have the same one in the end.
pub(super) struct Locks {
    hasher: RandomState,
    locks: [Mutex<()>; 64],
}

#[derive(Deserialize)]
struct Written {
    value: f64,
    labels: Option<BTreeMap<String, String>>,
}

pub(super) async fn take(callbacks: &Callbacks, admitted: &Admitted, body: Body) -> Result<u64, ApiError> {
    let shared = &callbacks.0;
    let _slot = callbacks.slot(&shared.bodies).await.ok_or_else(busy)?;
    let limit = usize::try_from(shared.config.max_result_bytes).unwrap_or(usize::MAX);
    let bytes = body::read(body, limit).await?;
    let gauges = parse(&bytes, admitted.compatible())?;
    let _in_turn = shared.results.lock(admitted.id(), &admitted.node).await;
    let now = admitted.now(&shared.runs).ok_or_else(|| GateError::NoRun { run: admitted.id().to_owned() })?;
    let length = bytes.len() as u64;
    save(&now, admitted, bytes).await?;
    let (node, attempt, received) = (admitted.node.clone(), admitted.attempt, Timestamp::now());
    let result = NodeResult { node, attempt, received, gauges };
    callbacks.tell(admitted, Posted::Result(Box::new(result))).await.map_err(ResultError::from)?;
    Ok(length)
}

/// Stricter than batch-job-controller, which took every name and dropped what was not declared: these are the ones that Prometheus
/// takes. Who comes from there loses no result for a name that never was a series.
fn parse(bytes: &[u8], compatible: bool) -> Result<Gauges, ResultError> {
    let read: Option<BTreeMap<String, Option<Vec<Written>>>> = serde_json::from_slice(bytes)?;
    let read = read.filter(|read| !read.is_empty()).ok_or(ResultError::Empty)?;
    if let Some(name) = read.keys().find(|name| name.is_empty() || !compatible && !is_metric_name(name)) {
        return Err(ResultError::Name { name: name.chars().take(64).collect() });
    }
    let value = |written: Written| GaugeValue { value: written.value, labels: written.labels.unwrap_or_default() };
    Ok(read.into_iter().map(|(name, values)| (name, values.into_iter().flatten().map(value).collect())).collect())
}

fn is_metric_name(name: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    !name.starts_with(|first: char| first.is_ascii_digit()) && !name.is_empty() && name.bytes().all(part)
}

/// What a later attempt posted stays in its place.
async fn save(now: &StoredRun, admitted: &Admitted, bytes: Vec<u8>) -> Result<(), ResultError> {
    let is_late = now.results.get(&admitted.node).is_some_and(|known| admitted.attempt < known.attempt);
    let name = match is_late {
        true => reports::late_result_name(&admitted.node, admitted.attempt),
        false => reports::result_name(&admitted.node),
    };
    let (directory, file) = (ReportDirectory::of(&now.settings, &now.run.id), name.clone());
    let saved = tokio::task::spawn_blocking(move || directory.files()?.write(&name, &bytes)).await;
    saved.map_err(std::io::Error::other).flatten().map_err(|source| ResultError::Save { file, source })
}

impl Default for Locks {
    fn default() -> Self {
        Self { hasher: RandomState::new(), locks: std::array::from_fn(|_| Mutex::new(())) }
    }
}

impl Locks {
    async fn lock(&self, run: &str, node: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one((run, node));
        self.locks[usize::try_from(hash % 64).unwrap_or(0)].lock().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        parse(json.as_bytes(), false).unwrap_err().to_string()
    }

    #[test]
    fn a_result_is_read_as_batch_job_controller_reads_it() {
        let read = br#"{"disk_free":[{"value":1.5,"labels":{"mount":"/"}},{"value":2,"labels":null}],"none":[],"nil":null}"#;
        let read = parse(read, false).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["disk_free", "nil", "none"]);
        assert_eq!(read["disk_free"][0].labels["mount"], "/");
        assert_eq!((read["disk_free"][0].value, read["disk_free"][1].value), (1.5, 2.0));
    }

    #[test]
    fn a_name_that_can_be_no_series_costs_users_of_batch_job_controller_no_result() {
        let read = parse(r#"{"disk-free":[{"value":1}],"größe":[]}"#.as_bytes(), true).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["disk-free", "größe"]);
        assert_eq!(parse(br#"{"":[]}"#, true).unwrap_err().to_string(), "\"\" is not a valid metric name");
    }

    #[test]
    fn null_and_nothing_are_told_and_no_crash() {
        for nothing in ["null", "{}"] {
            assert_eq!(refused(nothing), "results must not be empty");
        }
        for (name, said) in [("disk-free", "\"disk-free\""), ("", "\"\""), ("5m", "\"5m\""), ("größe", "\"größe\"")] {
            assert_eq!(refused(&format!("{{{name:?}:[]}}")), format!("{said} is not a valid metric name"));
        }
        for bad in ["", "[]", "{", r#"{"a":1}"#, r#"{"a":[{}]}"#, r#"{"a":[{"value":"1"}]}"#, r#"{"a":[{"value":NaN}]}"#] {
            assert!(refused(bad).starts_with("error decoding result: "), "{bad}: {}", refused(bad));
        }
        assert!(refused(r#"{"a":[{"value":1e999}]}"#).contains("out of range"));
        assert!(refused(r#"{"a":[]} {}"#).contains("trailing"));
    }
}
