//! The configuration as people write it: one YAML file, then flags and `JOBMETER_*`, which win. [`Written::resolve`] says all
//! that is wrong with it at once.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use jobmeter_daemon::config::{HumanDuration, Invalid, Problems};
use jobmeter_daemon::logging::LogFormat;
use jobmeter_decide::chase::Deadlines;
use jobmeter_decide::gating::Wanted;
use jobmeter_decide::metered::Scope;
use jobmeter_decide::record::{Keep, KeptMetadata};
use serde::{Deserialize, Serialize};

use super::export::{ArchiveWritten, PushgatewayWritten};
use super::leadership::{LeadershipConfig, LeadershipWritten, Surroundings};
use super::logs::LogsWritten;
use super::objects::ObjectStoreWritten;
use super::pools::PoolsConfig;
use super::runs::{RunsSurroundings, RunsWritten};
use super::store::StoreWritten;
use super::webhook::WebhookWritten;
use super::{CoordinatorConfig, DEADLINES, MAX_SERIES};
use crate::auth::{Operators, Readers, ServiceAccount, Writers};
use crate::store::{Assembly, Place, Retention};

/// Keeps the records of all job pods of a cluster.
#[derive(Debug, Parser)]
#[command(name = "jobmeter-coordinator", version)]
pub struct Args {
    /// Configuration file (YAML)
    #[arg(long, env = "JOBMETER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address of the API, the probes and /metrics
    #[arg(long, env = "JOBMETER_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Directory of the record store
    #[arg(long, env = "JOBMETER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Name of this cluster, part of every record
    #[arg(long, env = "JOBMETER_CLUSTER")]
    pub cluster: Option<String>,
    /// Log format
    #[arg(long, env = "JOBMETER_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Log filter, such as `info` or `jobmeter_coordinator=debug`
    #[arg(long, env = "JOBMETER_LOG")]
    pub log: Option<String>,
    /// Name of this process's pod; its host name by default
    #[arg(long, env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,
    /// UID of this process's pod; without it a restart waits for the end of the Lease that it held before
    #[arg(long, env = "POD_UID", hide = true)]
    pub pod_uid: Option<String>,
    /// Namespace of this process's pod
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,
    /// Address of this process's pod
    #[arg(long, env = "POD_IP", hide = true)]
    pub pod_ip: Option<IpAddr>,
    /// As batch-job-controller has it: namespace of the pods of runs
    #[arg(long, env = "NAMESPACE", hide = true)]
    pub namespace: Option<String>,
    /// As batch-job-controller has it: ConfigMap with a definition of runs
    #[arg(long, env = "CONFIG_MAP_NAME", hide = true)]
    pub config_map_name: Option<String>,
    /// As batch-job-controller has it: where reports are kept, whatever a definition says
    #[arg(long, env = "REPORT_DIRECTORY", hide = true)]
    pub report_directory: Option<PathBuf>,
    /// Read the configuration, say what is wrong with it, and exit
    #[arg(long)]
    pub check_config: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Written {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub cluster: String,
    pub log: Log,
    pub grace: HumanDuration,
    pub meter: Meter,
    pub keep: KeepMetadata,
    pub retention: RetentionWritten,
    pub chase: ChaseWritten,
    pub auth: AuthWritten,
    /// Namespaces and owner kinds that get a series of their own on `/metrics`.
    pub max_series: usize,
    pub store: StoreWritten,
    pub object_store: ObjectStoreWritten,
    pub logs: LogsWritten,
    pub archive: ArchiveWritten,
    pub pushgateway: PushgatewayWritten,
    /// Where the pools are written; read again when it changes. Absent: there are no pools.
    pub pools_file: Option<PathBuf>,
    /// How members of pools are held back: `auto`, `schedulingGates` or `suspend`.
    pub gating: Wanted,
    /// Node runs; without a directory or a ConfigMap there are none.
    pub runs: RunsWritten,
    pub webhook: WebhookWritten,
    pub leadership: LeadershipWritten,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Log {
    pub format: LogFormat,
    pub filter: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Meter {
    pub namespaces: BTreeSet<String>,
    pub excluded_namespaces: BTreeSet<String>,
    pub selector: String,
}

/// `null`: all of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct KeepMetadata {
    pub labels: Option<BTreeSet<String>>,
    pub annotations: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RetentionWritten {
    pub max_age: HumanDuration,
    pub max_records: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ChaseWritten {
    pub agent_alive: HumanDuration,
    pub agent_silent: HumanDuration,
    pub heartbeat: HumanDuration,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AuthWritten {
    /// `namespace:name` of the agents' ServiceAccount.
    pub agents: String,
    pub audience: String,
    pub reads: Reads,
    /// With `reads: token`.
    pub read_token_file: Option<PathBuf>,
    /// Whoever has its token may start, cancel and retry runs. Absent: the Secret `jobmeter-operator`.
    pub operator_token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reads {
    /// Whoever reaches the port: behind the API server's proxy and a NetworkPolicy.
    #[default]
    Open,
    Token,
}

/// The whole process.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub listen: SocketAddr,
    pub log_format: LogFormat,
    pub log_filter: String,
    pub grace: Duration,
    /// `None`: it leads without asking.
    pub leadership: Option<LeadershipConfig>,
    pub coordinator: CoordinatorConfig,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            data_dir: PathBuf::from("/var/lib/jobmeter"),
            cluster: String::new(),
            log: Log::default(),
            grace: HumanDuration::from_secs(15),
            meter: Meter::default(),
            keep: KeepMetadata::default(),
            retention: RetentionWritten::default(),
            chase: ChaseWritten::default(),
            auth: AuthWritten::default(),
            max_series: MAX_SERIES,
            store: StoreWritten::default(),
            object_store: ObjectStoreWritten::default(),
            logs: LogsWritten::default(),
            archive: ArchiveWritten::default(),
            pushgateway: PushgatewayWritten::default(),
            pools_file: None,
            gating: Wanted::default(),
            runs: RunsWritten::default(),
            webhook: WebhookWritten::default(),
            leadership: LeadershipWritten::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".to_owned() }
    }
}

impl Default for KeepMetadata {
    fn default() -> Self {
        Self { labels: None, annotations: Some(BTreeSet::new()) }
    }
}

impl Default for RetentionWritten {
    fn default() -> Self {
        let retention = Retention::default();
        Self { max_age: HumanDuration(retention.max_age), max_records: retention.max_records }
    }
}

impl Default for ChaseWritten {
    fn default() -> Self {
        Self {
            agent_alive: HumanDuration(DEADLINES.agent_alive),
            agent_silent: HumanDuration(DEADLINES.agent_silent),
            heartbeat: HumanDuration(DEADLINES.heartbeat),
        }
    }
}

impl Default for AuthWritten {
    fn default() -> Self {
        Self {
            agents: "jobmeter-agent:jobmeter-agent".to_owned(),
            audience: "jobmeter-coordinator".to_owned(),
            reads: Reads::Open,
            read_token_file: None,
            operator_token_file: None,
        }
    }
}

impl Written {
    pub fn resolve(mut self, args: &Args) -> Result<Resolved, Invalid> {
        self.listen = args.listen.unwrap_or(self.listen);
        self.data_dir = args.data_dir.clone().unwrap_or(self.data_dir);
        self.cluster = args.cluster.clone().unwrap_or(self.cluster);
        self.log.format = args.log_format.unwrap_or(self.log.format);
        self.log.filter = args.log.clone().unwrap_or(self.log.filter);

        let mut problems = Problems::default();
        let selector = problems.take("meter.selector", self.meter.selector.parse()).unwrap_or_default();
        let service_account = problems.take("auth.agents", self.auth.agents.parse::<ServiceAccount>());
        let readers = match (self.auth.reads, self.auth.read_token_file) {
            (Reads::Open, None) => Readers::Open,
            (Reads::Token, Some(path)) => Readers::token(path),
            (Reads::Open, Some(_)) => {
                problems.add("auth.readTokenFile", "has no meaning with `reads: open`");
                Readers::Open
            }
            (Reads::Token, None) => {
                problems.add("auth.readTokenFile", "is needed with `reads: token`");
                Readers::Open
            }
        };
        problems.check(!self.auth.audience.is_empty(), "auth.audience", "is empty");
        problems.check(!self.data_dir.as_os_str().is_empty(), "dataDir", "is empty");
        problems.check(self.retention.max_age.0 >= Duration::from_secs(3600), "retention.maxAge", "is shorter than an hour");
        problems.check(self.retention.max_records >= 1000, "retention.maxRecords", "is less than 1000");
        problems.check(self.max_series >= 1, "maxSeries", "is 0");
        for (key, duration) in [
            ("grace", self.grace),
            ("chase.agentAlive", self.chase.agent_alive),
            ("chase.agentSilent", self.chase.agent_silent),
            ("chase.heartbeat", self.chase.heartbeat),
        ] {
            problems.check(duration.0 >= Duration::from_secs(1), key, "is shorter than a second");
        }
        problems.check(
            self.chase.agent_silent.0 >= self.chase.agent_alive.0,
            "chase.agentSilent",
            "is shorter than chase.agentAlive: a silent agent would get less time than one that answers",
        );
        for namespace in self.meter.namespaces.intersection(&self.meter.excluded_namespaces) {
            problems.add("meter.excludedNamespaces", format_args!("{namespace} is also in meter.namespaces"));
        }
        let store = self.store.resolve(&mut problems);
        let objects = self.object_store.resolve(&self.data_dir, &mut problems);
        let logs = self.logs.resolve(&mut problems);
        let archive = self.archive.resolve(&mut problems);
        let pushgateway = self.pushgateway.resolve(&mut problems);
        let pools_file = self.pools_file.filter(|path| !path.as_os_str().is_empty());
        let surroundings = Surroundings {
            pod: args.pod_name.clone(),
            pod_uid: args.pod_uid.clone(),
            namespace: args.pod_namespace.clone(),
            ip: args.pod_ip,
        };
        let webhook = self.webhook.resolve(self.listen, args.pod_namespace.clone(), &mut problems);
        let runs = RunsSurroundings {
            own: surroundings.clone(),
            namespace: args.namespace.clone(),
            config_map: args.config_map_name.clone(),
            report_directory: args.report_directory.clone(),
        };
        let runs = self.runs.resolve(self.listen, &self.data_dir, runs, &mut problems);
        let operators = match self.auth.operator_token_file.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Operators::token(path),
            None if runs.is_some() => Operators::Cluster { namespace: args.pod_namespace.clone() },
            None => Operators::Nobody,
        };
        let leadership = self.leadership.resolve(self.listen, surroundings, &mut problems);
        problems.check(
            leadership.is_some() || !store.as_ref().is_some_and(Place::is_shared),
            "leadership.enabled",
            "is false with a PostgreSQL in `store`, which others may write as well: each write proves by the Lease that we lead",
        );
        problems.finish()?;

        let keep = |keys: Option<BTreeSet<String>>| keys.map_or(Keep::All, Keep::Only);
        let kept = KeptMetadata { labels: keep(self.keep.labels), annotations: keep(self.keep.annotations) };
        Ok(Resolved {
            listen: self.listen,
            log_format: self.log.format,
            log_filter: self.log.filter,
            grace: self.grace.0,
            leadership,
            coordinator: CoordinatorConfig {
                data_dir: self.data_dir,
                store,
                scope: Scope { namespaces: self.meter.namespaces, excluded_namespaces: self.meter.excluded_namespaces, selector },
                assembly: Assembly { cluster: self.cluster, kept, logs: None },
                retention: Retention { max_age: self.retention.max_age.0, max_records: self.retention.max_records },
                deadlines: Deadlines {
                    agent_alive: self.chase.agent_alive.0,
                    agent_silent: self.chase.agent_silent.0,
                    heartbeat: self.chase.heartbeat.0,
                },
                writers: Writers::TokenReview {
                    audience: self.auth.audience,
                    // Checked above: without one, `finish` has returned.
                    agents: service_account.unwrap_or_default(),
                },
                readers,
                operators,
                max_series: self.max_series,
                objects,
                logs,
                live_logs: None,
                archive,
                pushgateway,
                pools: PoolsConfig { file: pools_file, gating: self.gating },
                runs,
                webhook,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn written(text: &str) -> Written {
        jobmeter_daemon::config::parse(text, Path::new("coordinator.yaml")).unwrap()
    }

    fn args(args: &[&str]) -> Args {
        Args::try_parse_from([&["jobmeter-coordinator"], args].concat()).unwrap()
    }

    #[test]
    fn the_defaults_are_valid() {
        let resolved = written("").resolve(&args(&[])).unwrap();
        assert_eq!(resolved.coordinator.deadlines, DEADLINES);
        assert_eq!(resolved.coordinator.retention, Retention::default());
    }

    #[test]
    fn flags_win_over_the_file() {
        let resolved = written("cluster: a\nlisten: 127.0.0.1:1\n").resolve(&args(&["--cluster", "b"])).unwrap();
        assert_eq!((resolved.coordinator.assembly.cluster.as_str(), resolved.listen.port()), ("b", 1));
    }

    #[test]
    fn operators_are_those_of_the_file_or_of_the_cluster_where_there_are_runs() {
        let operators =
            |text: &str| written(text).resolve(&args(&["--pod-namespace", "jobmeter"])).unwrap().coordinator.operators;
        assert!(matches!(operators(""), Operators::Nobody));
        let runs = "runs: { directory: /etc/jobmeter/runs }\n";
        assert!(matches!(operators(runs), Operators::Cluster { namespace: Some(namespace) } if namespace == "jobmeter"));
        let file = format!("{runs}auth: {{ operatorTokenFile: /run/token }}\n");
        assert!(matches!(operators(&file), Operators::Token(file) if file.path() == Path::new("/run/token")));
    }

    #[test]
    fn without_a_lease_nobody_may_write_where_others_could() {
        let problem = |store: &str| {
            let written = written(&format!("leadership: {{ enabled: false }}\nstore: {{ url: '{store}' }}\n"));
            written.resolve(&args(&[])).map_or_else(|err| err.to_string(), |_| String::new())
        };
        assert_eq!(problem("sqlite:"), "");
        let told = problem("postgres://db/books");
        assert!(told.contains("leadership.enabled: is false with a PostgreSQL"), "{told}");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text = "meter: { selector: 'a in b', namespaces: [x], excludedNamespaces: [x] }\nauth: { agents: nobody, reads: token }\n\
                    retention: { maxAge: 1m }\nchase: { agentSilent: 10s }\n";
        let error = written(text).resolve(&args(&[])).unwrap_err().to_string();
        for key in [
            "meter.selector",
            "meter.excludedNamespaces",
            "auth.agents",
            "auth.readTokenFile",
            "retention.maxAge",
            "chase.agentSilent",
        ] {
            assert!(error.contains(key), "{key} in {error}");
        }
    }
}
