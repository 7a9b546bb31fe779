//! The configuration file. Every key has a default; unknown keys are refused with line and column.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use jobmeter_daemon::{
    config::{HumanDuration, HumanSize, Invalid, Problems},
    logging::LogFormat,
};
use jobmeter_decide::{books, metered::Scope, sampling};
use jobmeter_hostfs::HostRoot;
use serde::{Deserialize, Serialize};

use super::AgentConfig;
use crate::{
    keeper::KeeperPace,
    logs::LogsOptions,
    metrics::SeriesOptions,
    pods::cluster::ClusterOptions,
    sampler::SamplerOptions,
    uplink::HttpUplinkOptions,
    watch::{KubeletTrees, Trees},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ConfigFile {
    /// Name of this node, as the API server knows it.
    pub node: String,
    /// `/metrics`, `/status`, `/livez`, `/readyz`.
    pub listen: SocketAddr,
    pub state_dir: PathBuf,
    pub coordinator: Coordinator,
    pub kubernetes: Kubernetes,
    pub host: Host,
    /// Which pods are jobs; the same keys as the coordinator's.
    #[serde(rename = "meter")]
    pub scope: ScopeFile,
    pub sampling: Sampling,
    pub reports: Reports,
    pub journal: Journal,
    pub metrics: Metrics,
    pub logs: Logs,
    /// Priority of the kernel watcher under SCHED_FIFO, 1 to 99; 0: normal priority.
    pub realtime_priority: u8,
    /// What a stop may take.
    pub grace: HumanDuration,
    pub log: Log,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Coordinator {
    pub url: String,
    /// Read anew whenever it changes. Empty: no token.
    pub token_file: PathBuf,
    /// Empty: the system's authorities.
    pub ca_file: PathBuf,
    pub timeout: HumanDuration,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Kubernetes {
    /// Empty: the ServiceAccount of the agent's own pod.
    pub kubeconfig: PathBuf,
    /// Address of the API server in place of the one configured, for a node without a working Service network.
    pub server: String,
    /// `--cgroup-root` of this node's kubelet. Empty: wherever a kubepods tree is found.
    pub cgroup_root: String,
    /// Prefixes that belong to other nodes of the same machine.
    pub except: Vec<String>,
    /// UID of the agent's own pod: where several kubelets share a kernel, the tree that holds it is this node's.
    pub pod_uid: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Host {
    pub proc: PathBuf,
    pub cgroup: PathBuf,
    pub sys: PathBuf,
    pub pod_logs: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ScopeFile {
    pub namespaces: BTreeSet<String>,
    pub excluded_namespaces: BTreeSet<String>,
    /// Kubernetes label selector.
    pub selector: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Sampling {
    pub interval: HumanDuration,
    pub first_interval: HumanDuration,
    pub process_interval: HumanDuration,
    /// The most expensive processes that are kept of each pod.
    pub processes: usize,
    /// Keep arguments, not only names. Arguments may hold secrets.
    pub command_lines: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Reports {
    pub batch_interval: HumanDuration,
    pub heartbeat_interval: HumanDuration,
    /// Live pods.
    pub interval: HumanDuration,
    /// Pods whose evidence may wait for a coordinator that is away.
    pub unacknowledged: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Journal {
    /// Live pods.
    pub interval: HumanDuration,
    /// History before the file is rewritten.
    pub slack: HumanSize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Metrics {
    pub max_series_groups: usize,
    /// How long a pod is shown after its end.
    pub keep: HumanDuration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Log {
    pub format: LogFormat,
    pub filter: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Logs {
    /// Capture and upload the logs of job pods.
    pub enabled: bool,
    /// Where they wait for the store; on the same mount as `host.podLogs`, so that they are linked and not copied.
    pub spool: PathBuf,
    /// What the spool may hold that the kubelet has removed.
    pub max_bytes: HumanSize,
    /// What is left free of its file system, but never more than 5 % of it is asked for.
    pub min_free: HumanSize,
    /// Logs that are uploaded at a time.
    pub concurrency: usize,
    /// All directories of logs are looked at this often, beside what inotify says.
    pub rescan_interval: HumanDuration,
}

/// The file as it is meant.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub agent: AgentConfig,
    pub uplink: HttpUplinkOptions,
    pub cluster: ClusterOptions,
    pub listen: SocketAddr,
    pub grace: HumanDuration,
}

impl ConfigFile {
    /// Finds all problems, not only the first.
    pub fn resolve(self) -> Result<Resolved, Invalid> {
        let mut problems = Problems::default();
        problems.check(!self.node.is_empty(), "node", "is needed: --node, JOBMETER_NODE, or the key");
        let is_http = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let url = reqwest::Url::parse(&self.coordinator.url);
        problems.check(url.is_ok_and(|url| is_http(&url)), "coordinator.url", "is no address such as http://coordinator:8080");
        problems.check(self.state_dir.is_absolute(), "stateDir", "is no absolute path");
        problems.check(self.realtime_priority <= 99, "realtimePriority", "is above 99");
        problems.check(
            self.sampling.processes <= jobmeter_protocol::evidence::MAX_PROCESSES,
            "sampling.processes",
            "is above 32",
        );
        problems.check(self.logs.spool.is_absolute(), "logs.spool", "is no absolute path");
        problems.check(self.logs.concurrency > 0, "logs.concurrency", "is zero");
        problems.check(self.reports.unacknowledged > 0, "reports.unacknowledged", "is zero");
        for (key, duration) in [
            ("coordinator.timeout", self.coordinator.timeout),
            ("sampling.interval", self.sampling.interval),
            ("sampling.firstInterval", self.sampling.first_interval),
            ("sampling.processInterval", self.sampling.process_interval),
            ("reports.heartbeatInterval", self.reports.heartbeat_interval),
            ("logs.rescanInterval", self.logs.rescan_interval),
        ] {
            problems.check(duration.get() >= std::time::Duration::from_millis(1), key, "is below 1ms");
        }
        let selector = problems.take("meter.selector", self.scope.selector.parse()).unwrap_or_default();
        let scope = Scope {
            namespaces: self.scope.namespaces.clone(),
            excluded_namespaces: self.scope.excluded_namespaces.clone(),
            selector,
        };
        problems.finish()?;
        Ok(Resolved {
            uplink: HttpUplinkOptions {
                url: self.coordinator.url.clone(),
                token_file: some(&self.coordinator.token_file),
                ca_file: some(&self.coordinator.ca_file),
                timeout: self.coordinator.timeout.get(),
            },
            cluster: ClusterOptions {
                node: self.node.clone(),
                kubeconfig: some(&self.kubernetes.kubeconfig),
                server: Some(self.kubernetes.server.clone()).filter(|server| !server.is_empty()),
            },
            listen: self.listen,
            grace: self.grace,
            agent: self.agent(scope),
        })
    }

    fn agent(self, scope: Scope) -> AgentConfig {
        let below = Some(self.kubernetes.cgroup_root).filter(|root| !root.is_empty());
        let holding = Some(self.kubernetes.pod_uid).filter(|uid| !uid.is_empty());
        let pace = sampling::Pace::default();
        AgentConfig {
            logs: LogsOptions {
                enabled: self.logs.enabled,
                max_bytes: self.logs.max_bytes.bytes(),
                min_free: self.logs.min_free.bytes(),
                concurrency: self.logs.concurrency,
                rescan: self.logs.rescan_interval.get(),
                ..LogsOptions::new(self.logs.spool.clone())
            },
            host: HostRoot {
                proc: self.host.proc,
                cgroup: self.host.cgroup,
                sys: self.host.sys,
                pod_logs: self.host.pod_logs,
                spool: self.logs.spool,
            },
            trees: Trees { kubelet: Some(KubeletTrees { below, except: self.kubernetes.except, holding }), local: None },
            realtime_priority: Some(self.realtime_priority).filter(|priority| *priority > 0),
            scope,
            sampling: SamplerOptions {
                pace: sampling::Pace {
                    first: self.sampling.first_interval.get(),
                    steady: self.sampling.interval.get(),
                    steady_scan: self.sampling.process_interval.get(),
                    ..pace
                },
                processes: self.sampling.processes,
                command_lines: self.sampling.command_lines,
            },
            keeper: KeeperPace {
                batch: self.reports.batch_interval.get(),
                heartbeat: self.reports.heartbeat_interval.get(),
                ..KeeperPace::default()
            },
            books: books::Pace {
                journal: self.journal.interval.get(),
                report: self.reports.interval.get(),
                ..books::Pace::default()
            },
            limits: books::Limits { unacknowledged: self.reports.unacknowledged, processes: self.sampling.processes },
            series: SeriesOptions { cap: self.metrics.max_series_groups, expiry: self.metrics.keep.get() },
            journal_slack: self.journal.slack.bytes(),
            ..AgentConfig::new(self.node, self.state_dir)
        }
    }
}

fn some(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            node: String::new(),
            listen: SocketAddr::from(([0, 0, 0, 0], 9300)),
            state_dir: PathBuf::from("/var/lib/jobmeter/agent"),
            coordinator: Coordinator::default(),
            kubernetes: Kubernetes::default(),
            host: Host::default(),
            scope: ScopeFile::default(),
            sampling: Sampling::default(),
            reports: Reports::default(),
            journal: Journal::default(),
            metrics: Metrics::default(),
            logs: Logs::default(),
            realtime_priority: super::DEFAULT_PRIORITY,
            grace: HumanDuration::from_secs(10),
            log: Log::default(),
        }
    }
}

impl Default for Coordinator {
    fn default() -> Self {
        Self {
            url: "http://jobmeter-coordinator.jobmeter.svc:8080".to_owned(),
            token_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            timeout: HumanDuration::from_secs(15),
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        let HostRoot { proc, cgroup, sys, pod_logs, spool: _ } = HostRoot::local();
        Self { proc, cgroup, sys, pod_logs }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        let pace = sampling::Pace::default();
        let options = SamplerOptions::default();
        Self {
            interval: pace.steady.into(),
            first_interval: pace.first.into(),
            process_interval: pace.steady_scan.into(),
            processes: options.processes,
            command_lines: options.command_lines,
        }
    }
}

impl Default for Reports {
    fn default() -> Self {
        let (pace, books) = (KeeperPace::default(), books::Pace::default());
        Self {
            batch_interval: pace.batch.into(),
            heartbeat_interval: pace.heartbeat.into(),
            interval: books.report.into(),
            unacknowledged: books::Limits::default().unacknowledged,
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self { interval: books::Pace::default().journal.into(), slack: HumanSize::mebibytes(4) }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let options = SeriesOptions::default();
        Self { max_series_groups: options.cap, keep: options.expiry.into() }
    }
}

impl Default for Logs {
    fn default() -> Self {
        let options = LogsOptions::of(&HostRoot::local());
        Self {
            enabled: options.enabled,
            spool: options.spool,
            max_bytes: HumanSize::mebibytes(options.max_bytes >> 20),
            min_free: HumanSize::mebibytes(options.min_free >> 20),
            concurrency: options.concurrency,
            rescan_interval: options.rescan.into(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_lack_only_the_name_of_the_node() {
        let invalid = ConfigFile::default().resolve().unwrap_err().to_string();
        assert!(invalid.contains("node") && !invalid.contains("sampling"), "{invalid}");
        let resolved = ConfigFile { node: "node-a".into(), ..ConfigFile::default() }.resolve().unwrap();
        assert_eq!(resolved.agent.node, "node-a");
        assert!(resolved.agent.trees.kubelet.is_some());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "node: a\ncoordinator: {url: nowhere}\nstateDir: here\nmeter: {selector: 'a=b=c'}\nsampling: {interval: 0s, processes: 99}\nlogs: {spool: here}\n";
        let file: ConfigFile = jobmeter_daemon::config::parse(text, Path::new("agent.yaml")).unwrap();
        let invalid = file.resolve().unwrap_err().to_string();
        for key in ["coordinator.url", "stateDir", "meter.selector", "sampling.interval", "sampling.processes", "logs.spool"] {
            assert!(invalid.contains(key), "{key} in {invalid}");
        }
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let text = serde_json::to_string(&ConfigFile::default()).unwrap();
        let read: ConfigFile = jobmeter_daemon::config::parse(&text, Path::new("agent.yaml")).unwrap();
        assert_eq!(read, ConfigFile::default());
    }
}
