//! Configuration of node runs: [`RunsConfig`], and how people write it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use jobmeter_daemon::config::{HumanSize, Problems};
use serde::{Deserialize, Serialize};

use super::leadership::Surroundings;
use crate::runs::definition::values::is_dns_label;
use crate::runs::definition::{Defaults, Sources};

/// How runs are kept. Without a source of definitions there are none.
#[derive(Clone, Debug)]
pub struct RunsConfig {
    pub sources: Sources,
    pub defaults: Defaults,
    pub callbacks: CallbacksConfig,
    pub ports: CompatiblePorts,
    /// Of the coordinator's own pod: with its owner the pods of runs go, and without a Service they post to its IP.
    pub own: Surroundings,
}

/// How pods reach us, and how much they may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbacksConfig {
    /// Host or IP in the URLs that pods are given; wins over `service`.
    pub address: Option<String>,
    /// Namespace and name of the Service whose address is in the URLs.
    pub service: Option<(String, String)>,
    /// In the URLs; also that of a definition which names none.
    pub port: u16,
    /// A URL without a token is refused.
    pub token_required: bool,
    pub max_result_bytes: u64,
    pub max_file_bytes: u64,
    /// Of all files of a run.
    pub max_run_bytes: u64,
    /// Files of one node.
    pub max_node_files: u32,
}

/// Listeners at batch-job-controller's ports, besides those that definitions name for callbacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompatiblePorts {
    /// Report files at `/`.
    pub files: Option<SocketAddr>,
    /// `/metrics`.
    pub metrics: Option<SocketAddr>,
    /// `/healthz` and `/readyz`.
    pub health: Option<SocketAddr>,
}

impl Default for CallbacksConfig {
    fn default() -> Self {
        Self {
            address: None,
            service: None,
            port: 8080,
            token_required: true,
            max_result_bytes: 1 << 20,
            max_file_bytes: 4 << 30,
            max_run_bytes: 20 << 30,
            max_node_files: 1_000,
        }
    }
}

/// `runs` in the file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RunsWritten {
    /// Each `*.yaml` in it has definitions of runs.
    pub directory: Option<PathBuf>,
    /// ConfigMaps that have definitions, as `name` or `namespace/name`.
    pub config_maps: Vec<String>,
    /// Of pods whose definition names none.
    pub namespace: Option<String>,
    /// Of definitions that name none; `null`: `reports` in the data directory.
    pub report_directory: Option<PathBuf>,
    pub callbacks: CallbacksWritten,
    pub ports: PortsWritten,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct CallbacksWritten {
    pub address: Option<String>,
    /// As `name` or `namespace/name`.
    pub service: Option<String>,
    /// `null`: that of `listen`.
    pub port: Option<u16>,
    pub token: Token,
    pub max_result_bytes: HumanSize,
    pub max_file_bytes: HumanSize,
    pub max_run_bytes: HumanSize,
    pub max_node_files: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Token {
    #[default]
    Required,
    /// Also batch-job-controller's own URLs are answered.
    Optional,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PortsWritten {
    pub files: Option<SocketAddr>,
    pub metrics: Option<SocketAddr>,
    pub health: Option<SocketAddr>,
}

impl Default for CallbacksWritten {
    fn default() -> Self {
        let config = CallbacksConfig::default();
        Self {
            address: None,
            service: None,
            port: None,
            token: Token::default(),
            max_result_bytes: HumanSize(config.max_result_bytes),
            max_file_bytes: HumanSize(config.max_file_bytes),
            max_run_bytes: HumanSize(config.max_run_bytes),
            max_node_files: config.max_node_files,
        }
    }
}

/// What the process is told besides the file: its pod, and batch-job-controller's environment.
#[derive(Clone, Debug, Default)]
pub struct RunsSurroundings {
    pub own: Surroundings,
    /// `NAMESPACE`
    pub namespace: Option<String>,
    /// `CONFIG_MAP_NAME`
    pub config_map: Option<String>,
    /// `REPORT_DIRECTORY`
    pub report_directory: Option<PathBuf>,
}

/// Where batch-job-controller serves report files, metrics and its health.
const FILES_PORT: u16 = 8080;
const METRICS_PORT: u16 = 9153;
const HEALTH_PORT: u16 = 9152;
const SERVICE: &str = "jobmeter-coordinator";
const REPORTS: &str = "reports";

impl RunsWritten {
    /// `None`: there is nothing that definitions could come from.
    pub(super) fn resolve(
        self,
        listen: SocketAddr,
        data_dir: &Path,
        surroundings: RunsSurroundings,
        problems: &mut Problems,
    ) -> Option<RunsConfig> {
        let RunsSurroundings { own, namespace, config_map, report_directory } = surroundings;
        let [pod_namespace, environment_namespace, config_map] = [own.namespace.clone(), namespace, config_map].map(unless_empty);
        let report_directory_of_environment = report_directory.filter(|path| !path.as_os_str().is_empty());
        let here = environment_namespace.or(pod_namespace.clone());
        let namespace = unless_empty(self.namespace).or(here.clone()).unwrap_or_default();
        problems.check(namespace.is_empty() || is_dns_label(&namespace), "runs.namespace", "is no name of a namespace");

        let compatible = config_map.is_some();
        let mut config_maps: Vec<(String, String)> = Vec::new();
        let named = self.config_maps.iter().map(|name| ("runs.configMaps", name));
        for (key, name) in named.chain(config_map.iter().map(|name| ("CONFIG_MAP_NAME", name))) {
            let found = problems.take(key, reference(name, here.as_deref()));
            config_maps.extend(found.filter(|found| !config_maps.contains(found)));
        }
        let directory = self.directory.filter(|path| !path.as_os_str().is_empty());
        let reports = report_directory_of_environment.clone().or(self.report_directory);
        let reports = reports.unwrap_or_else(|| data_dir.join(REPORTS));
        let absent = directory.is_none() && config_maps.is_empty();
        problems.check(absent || reports.is_absolute(), "runs.reportDirectory", "is no absolute path");

        let callbacks = self.callbacks.resolve(listen, pod_namespace.as_deref(), problems);
        let ports = self.ports.resolve(listen, compatible, problems);
        let sources = Sources { directory, config_maps };
        let defaults =
            Defaults { namespace, report_directory: reports, report_directory_wins: report_directory_of_environment.is_some() };
        (!absent).then_some(RunsConfig { sources, defaults, callbacks, ports, own })
    }
}

impl CallbacksWritten {
    fn resolve(self, listen: SocketAddr, pod_namespace: Option<&str>, problems: &mut Problems) -> CallbacksConfig {
        let service = match unless_empty(self.service) {
            Some(name) => problems.take("runs.callbacks.service", reference(&name, pod_namespace)),
            None => pod_namespace.map(|namespace| (namespace.to_owned(), SERVICE.to_owned())),
        };
        let address = unless_empty(self.address);
        if let Some(address) = &address {
            let bare = address.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(address);
            let host = bare.parse::<IpAddr>().is_ok() || address.split('.').all(is_dns_label);
            problems.check(
                host,
                "runs.callbacks.address",
                "is neither an IP address nor a host name; the port is one of its own",
            );
        }
        let port = self.port.unwrap_or_else(|| listen.port());
        problems.check(self.port != Some(0), "runs.callbacks.port", "is 0");
        for (key, size) in [
            ("runs.callbacks.maxResultBytes", self.max_result_bytes),
            ("runs.callbacks.maxFileBytes", self.max_file_bytes),
            ("runs.callbacks.maxRunBytes", self.max_run_bytes),
        ] {
            problems.check(size.0 > 0, key, "is 0");
        }
        problems.check(self.max_node_files > 0, "runs.callbacks.maxNodeFiles", "is 0");
        CallbacksConfig {
            address,
            service,
            port,
            token_required: self.token == Token::Required,
            max_result_bytes: self.max_result_bytes.0,
            max_file_bytes: self.max_file_bytes.0,
            max_run_bytes: self.max_run_bytes.0,
            max_node_files: self.max_node_files,
        }
    }
}

impl PortsWritten {
    /// With batch-job-controller's environment its ports are there, save for one that is ours already.
    fn resolve(self, listen: SocketAddr, compatible: bool, problems: &mut Problems) -> CompatiblePorts {
        let mut taken = vec![("listen", listen.port())];
        let mut port = |key: &'static str, written: Option<SocketAddr>, default: u16| match written {
            Some(address) => {
                let same = taken.iter().find(|(_, port)| *port == address.port() && *port != 0);
                if let Some((other, _)) = same {
                    problems.add(key, format_args!("has the port of `{other}`, {}", address.port()));
                }
                taken.push((key, address.port()));
                Some(address)
            }
            None => (compatible && listen.port() != default).then(|| SocketAddr::new(listen.ip(), default)),
        };
        CompatiblePorts {
            files: port("runs.ports.files", self.files, FILES_PORT),
            metrics: port("runs.ports.metrics", self.metrics, METRICS_PORT),
            health: port("runs.ports.health", self.health, HEALTH_PORT),
        }
    }
}

fn unless_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// `name` or `namespace/name`.
fn reference(text: &str, namespace: Option<&str>) -> Result<(String, String), String> {
    let (namespace, name) = match (text.split_once('/'), namespace) {
        (Some(both), _) => both,
        (None, Some(namespace)) => (namespace, text),
        (None, None) => return Err(format!("`{text}` has no namespace, and ours is not known: write `namespace/{text}`")),
    };
    let named = is_dns_label(namespace) && name.len() <= 253 && name.split('.').all(is_dns_label);
    if named {
        Ok((namespace.to_owned(), name.to_owned()))
    } else {
        Err(format!("`{text}` is neither `name` nor `namespace/name`"))
    }
}

#[cfg(test)]
mod tests;
