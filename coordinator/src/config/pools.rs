//! The pools as people write them: a file of its own, read again while we run. In: YAML. Out: [`PoolSettings`], or everything that
//! is wrong with it at once, each with its line.
//!
//! Owner: whoever reads the file: the pool task in a cluster, the command line on one machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jobmeter_daemon::config::{self as files, ConfigError, Invalid, Problems, Spanned};
use jobmeter_decide::gating::Wanted;
use jobmeter_decide::pool::placement::{Requirements, Toleration};
use jobmeter_decide::pool::{PoolSettings, Size};
use serde::Deserialize;

use values::{Plain, Wrong};
pub(crate) use values::{label_key, label_value};

mod values;

/// Where the pools come from, and how pods are held back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolsConfig {
    /// `None`: there are no pools, and nobody is let go.
    pub file: Option<PathBuf>,
    pub gating: Wanted,
}

#[derive(Debug, thiserror::Error)]
pub enum PoolsError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}: {source}", path.display())]
    Invalid { path: PathBuf, source: Invalid },
}

/// Reads a pools file; the pools are in the order of their names.
pub fn load(path: &Path) -> Result<Vec<PoolSettings>, PoolsError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text, path)
}

/// `path` is for the error only.
pub fn parse(text: &str, path: &Path) -> Result<Vec<PoolSettings>, PoolsError> {
    let written: File = files::parse(text, path)?;
    let mut problems = Problems::default();
    let pools = written.pools.into_iter().map(|(name, pool)| {
        let mut report = Report { problems: &mut problems, pool: &name };
        pool.value.resolve(pool.referenced.line(), &mut report)
    });
    let pools = pools.collect();
    problems.finish().map_err(|source| PoolsError::Invalid { path: path.to_owned(), source })?;
    Ok(pools)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct File {
    pools: BTreeMap<String, Spanned<Pool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Pool {
    /// `8`, `25%` or `0`.
    size: Option<Spanned<Plain>>,
    per_node: Option<Spanned<Plain>>,
    /// `5/1m`, for each node.
    start_rate: Option<Spanned<Plain>>,
    /// `fifo` or `fairShare`.
    order: Option<Spanned<Plain>>,
    node_selector: BTreeMap<String, Spanned<Plain>>,
    tolerations: Vec<Spanned<TolerationForm>>,
}

/// As in a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct TolerationForm {
    key: String,
    operator: Option<String>,
    value: String,
    effect: Option<String>,
}

/// Problems of one pool.
struct Report<'a> {
    problems: &'a mut Problems,
    pool: &'a str,
}

impl Report<'_> {
    fn add(&mut self, line: u64, key: &str, why: impl std::fmt::Display) {
        let dot = if key.is_empty() { "" } else { "." };
        self.problems.add(&format!("line {line}: pools.{}{dot}{key}", self.pool), why);
    }

    fn read<T>(&mut self, key: &str, value: Option<Spanned<Plain>>, read: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        let value = value?;
        read(&value.value.0).map_err(|why| self.add(value.referenced.line(), key, why)).ok()
    }
}

impl Pool {
    fn resolve(self, line: u64, report: &mut Report<'_>) -> PoolSettings {
        let name = report.pool.to_owned();
        if let Err(why) = values::label_value(&name) {
            report.add(line, "", why);
        }
        if self.size.is_none() {
            report.add(line, "size", "is missing: write `8`, or `25%` of the pool's nodes, or `0` to hold everybody back");
        }
        PoolSettings {
            // Of a file with a problem nothing is used.
            size: report.read("size", self.size, values::size).unwrap_or(Size::Places(0)),
            per_node: report.read("perNode", self.per_node, values::at_least_one),
            start_rate: report.read("startRate", self.start_rate, values::start_rate),
            order: report.read("order", self.order, values::order).unwrap_or_default(),
            nodes: Requirements {
                node_selector: selector(self.node_selector, report),
                affinity: None,
                tolerations: tolerations(self.tolerations, report),
            },
            name,
        }
    }
}

fn selector(written: BTreeMap<String, Spanned<Plain>>, report: &mut Report<'_>) -> BTreeMap<String, String> {
    let mut selector = BTreeMap::new();
    for (label, value) in written {
        let line = value.referenced.line();
        if let Err(why) = values::label_key(&label) {
            report.add(line, "nodeSelector", why);
        }
        let path = format!("nodeSelector.{label}");
        let empty = value.value.0.is_empty();
        let value = report
            .read(&path, Some(value), |text| if empty { Ok(()) } else { values::label_value(text) }.map(|()| text.to_owned()));
        selector.extend(value.map(|value| (label, value)));
    }
    selector
}

fn tolerations(written: Vec<Spanned<TolerationForm>>, report: &mut Report<'_>) -> Vec<Toleration> {
    let mut tolerations = Vec::new();
    for (index, form) in written.into_iter().enumerate() {
        match values::toleration(form.value) {
            Ok(toleration) => tolerations.push(toleration),
            Err(why) => report.add(form.referenced.line(), &format!("tolerations[{index}]"), why),
        }
    }
    tolerations
}

#[cfg(test)]
mod tests;
