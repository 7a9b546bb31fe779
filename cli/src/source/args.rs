//! The flags that say whom to ask, the same for every command that asks.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;

use super::choose::CoordinatorService;

/// Whom to ask.
///
/// Shown under its own heading in `--help`; the rule of choice is in [`super::choose`].
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Where the answer comes from")]
pub struct SourceArgs {
    /// Ask the coordinator at this address [env: JOBMETER_SERVER]
    #[arg(long, value_name = "URL", conflicts_with_all = ["data_dir", "context", "kubeconfig", "coordinator"])]
    pub server: Option<String>,

    /// File with the bearer token for --server [env: JOBMETER_TOKEN holds the token itself]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// PEM file with the authority that signed the certificate of --server
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Read the records in this directory [env: JOBMETER_DATA_DIR] [default: ./jobmeter-data where it exists]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["context", "kubeconfig", "coordinator"])]
    pub data_dir: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Kubeconfig file [env: KUBECONFIG] [default: ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The coordinator's service in the cluster [env: JOBMETER_COORDINATOR] [default: jobmeter/jobmeter-coordinator:http]
    #[arg(long, value_name = "NAMESPACE/SERVICE:PORT")]
    pub coordinator: Option<CoordinatorService>,

    /// Namespace [default: through Kubernetes the context's, else all]
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces", value_parser = NonEmptyStringValueParser::new())]
    pub namespace: Option<String>,

    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// How the choice is made: part of the help of every command that asks.
pub const CHOICE_HELP: &str = "\
Where the answer comes from, first match:
  1. the flag given: --server, --data-dir, or --context/--kubeconfig/--coordinator
  2. JOBMETER_SERVER, then JOBMETER_DATA_DIR
  3. as `kubectl jobmeter`: the cluster, through the API server's service proxy
  4. ./jobmeter-data, where `jobmeter run` and `jobmeter standalone` keep their records
  5. the cluster of your kubeconfig, or the one this pod runs in
";

/// The help of a command that asks: its own text, then the rule of choice.
pub fn with_choice(help: &str) -> String {
    format!("{help}\n{CHOICE_HELP}")
}

impl SourceArgs {
    /// Through Kubernetes kubectl's habit, otherwise everything there is.
    pub(super) fn namespace_or(&self, context: Option<String>) -> Option<String> {
        if self.all_namespaces { None } else { self.namespace.clone().or(context) }
    }
}
