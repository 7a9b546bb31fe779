//! What is kept of the logs of jobs, and how: [`LogsConfig`], and how people write it.

use std::time::Duration;

use jobmeter_daemon::config::{HumanDuration, HumanSize, Problems};
use jobmeter_decide::logs::key::Template;
use jobmeter_protocol::{Compression, LogFormat};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsConfig {
    pub enabled: bool,
    pub key: Template,
    /// Label of a pod whose value is the `{benchmark}` of a key.
    pub benchmark_label: String,
    pub format: LogFormat,
    pub compression: Compression,
    pub retention: LogRetention,
    pub manifests: bool,
}

/// Of the directory; a store has lifecycle rules of its own. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRetention {
    pub max_age: Option<Duration>,
    pub max_bytes: Option<u64>,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            key: Template::default(),
            benchmark_label: BENCHMARK_LABEL.to_owned(),
            format: LogFormat::default(),
            compression: Compression::default(),
            retention: LogRetention::default(),
            manifests: true,
        }
    }
}

const BENCHMARK_LABEL: &str = "cpe-benchmark";

/// `logs` in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LogsWritten {
    /// Keep the logs of job pods.
    pub enabled: bool,
    /// Template of the objects' keys.
    pub key: String,
    /// Label of a pod that names its benchmark, for `{benchmark}` in the key.
    pub benchmark_label: String,
    /// `text`: what the container wrote; `cri`: the runtime's lines.
    pub format: LogFormat,
    /// `none`, `gzip` or `zstd`.
    pub compression: Compression,
    pub retention: LogRetentionWritten,
    /// Write `<key>.manifest.json` beside each log.
    pub manifests: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LogRetentionWritten {
    /// Logs in the directory that are older go; `null`: never.
    pub max_age: Option<HumanDuration>,
    /// The oldest logs in the directory go beyond it; `null`: never.
    pub max_bytes: Option<HumanSize>,
}

impl Default for LogsWritten {
    fn default() -> Self {
        let config = LogsConfig::default();
        Self {
            enabled: config.enabled,
            key: config.key.to_string(),
            benchmark_label: config.benchmark_label,
            format: config.format,
            compression: config.compression,
            retention: LogRetentionWritten::default(),
            manifests: config.manifests,
        }
    }
}

impl LogsWritten {
    pub(super) fn resolve(self, problems: &mut Problems) -> LogsConfig {
        let key = problems.take("logs.key", self.key.parse::<Template>()).unwrap_or_default();
        let compressed = [Compression::Gzip, Compression::Zstd].map(Compression::suffix);
        let suffix = compressed.into_iter().find(|suffix| self.key.ends_with(suffix));
        problems.check(
            suffix.is_none(),
            "logs.key",
            format_args!("ends in {}, which logs.compression adds", suffix.unwrap_or_default()),
        );
        problems.check(!self.benchmark_label.trim().is_empty(), "logs.benchmarkLabel", "is empty");
        let retention = LogRetention {
            max_age: self.retention.max_age.map(|age| age.0),
            max_bytes: self.retention.max_bytes.map(|bytes| bytes.0),
        };
        let hour = Duration::from_secs(3600);
        problems.check(retention.max_age.is_none_or(|age| age >= hour), "logs.retention.maxAge", "is shorter than an hour");
        problems.check(retention.max_bytes.is_none_or(|bytes| bytes > 0), "logs.retention.maxBytes", "is 0");
        LogsConfig {
            enabled: self.enabled,
            key,
            benchmark_label: self.benchmark_label,
            format: self.format,
            compression: self.compression,
            retention,
            manifests: self.manifests,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn resolved(text: &str) -> (LogsConfig, String) {
        let written: LogsWritten = jobmeter_daemon::config::parse(text, Path::new("coordinator.yaml")).unwrap();
        let mut problems = Problems::default();
        let config = written.resolve(&mut problems);
        (config, problems.finish().map_or_else(|invalid| invalid.to_string(), |()| String::new()))
    }

    #[test]
    fn the_defaults_are_valid_and_every_key_can_be_written() {
        assert_eq!(resolved(""), (LogsConfig::default(), String::new()));
        let text = "key: '{benchmark}/{job}/{pod}.log'\nbenchmarkLabel: suite\nformat: cri\ncompression: zstd\nmanifests: false\n\
                    enabled: false\nretention: { maxAge: 30d, maxBytes: 10Gi }\n";
        let (config, problems) = resolved(text);
        assert_eq!((problems.as_str(), config.format, config.compression), ("", LogFormat::Cri, Compression::Zstd));
        assert_eq!(config.retention.max_bytes, Some(10 << 30));
        assert_eq!(config.key.to_string(), "{benchmark}/{job}/{pod}.log");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let (_, problems) = resolved("key: '{job}/x.gz'\nbenchmarkLabel: ''\nretention: { maxAge: 1m, maxBytes: 0 }\n");
        for key in ["{pod}", "ends in .gz", "logs.benchmarkLabel", "logs.retention.maxAge", "logs.retention.maxBytes"] {
            assert!(problems.contains(key), "{key} in {problems}");
        }
    }
}
