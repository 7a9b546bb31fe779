//! `jobmeter doctor`: what can be measured here and how well; on all nodes of a cluster; and, with `--prove`, whether the
//! figures are true.

mod listing;
mod pools;
pub mod prove;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use jiff::Timestamp;
use jobmeter_agent::logs::capture;
use jobmeter_coordinator::execute::local::Forker;
use jobmeter_hostfs::capability::{ProbeOptions, probe};
use jobmeter_hostfs::{HostRoot, machine, realtime};
use jobmeter_protocol::NodeStatus;

use crate::source::{Source, SourceArgs, with_choice};

/// The one that the agent asks for by default.
const REALTIME_PRIORITY: u8 = 10;

/// Show what can be measured, and how well; prove it with --prove
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = with_choice(HELP))]
pub struct DoctorArgs {
    /// The nodes of a cluster, as their agents report them
    #[arg(long, conflicts_with = "prove")]
    pub nodes: bool,

    /// What the pools of a cluster need: webhook, gating, pools file; and gated pods that nobody will let go
    #[arg(long, conflicts_with_all = ["prove", "nodes"])]
    pub pools: bool,

    /// Run workloads whose cost is known, and compare
    #[arg(long)]
    pub prove: bool,

    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: DoctorForm,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DoctorForm {
    #[default]
    Text,
    Json,
}

const HELP: &str = "\
Examples:
  jobmeter doctor                 this machine
  jobmeter doctor --prove         run known workloads here, print reported against truth
  kubectl jobmeter doctor --nodes every node that has an agent
  kubectl jobmeter doctor --pools what holds job pods back, and whether it can

--prove runs, as `jobmeter run` would: a CPU burn, a memory burst of 20 ms, 200 jobs of 1 ms, a storm of short children, and a \
reader of a file through the page cache. The truth comes from wait4 and from what the workload knows of itself; each figure is \
judged by the tolerance printed beside it.
--pools asks the coordinator, and the API server where the coordinator is reached through it: that takes `get` on \
mutatingwebhookconfigurations and `list` on pods of all namespaces.

Exit codes: 0; 1 with --prove: a figure labelled `kernel` was out of its tolerance, with --pools: something failed, or with \
--nodes or --pools no answer; 64 a wrong flag.
";

/// `forker`: for `--prove`.
pub async fn run(args: DoctorArgs, forker: Option<Forker>) -> anyhow::Result<ExitCode> {
    if let Some(forker) = forker {
        return prove::run(args.output, forker).await;
    }
    if args.pools {
        return pools::run(args.output, &args.source).await;
    }
    let nodes = if args.nodes { Source::open(&args.source).await?.nodes().await? } else { vec![this_machine()?] };
    let mut out = BufWriter::new(io::stdout().lock());
    match (args.output, nodes.as_slice()) {
        (DoctorForm::Json, [only]) if !args.nodes => writeln!(out, "{}", serde_json::to_string_pretty(only)?)?,
        (DoctorForm::Json, nodes) => writeln!(out, "{}", serde_json::to_string_pretty(nodes)?)?,
        (DoctorForm::Text, [only]) if !args.nodes => listing::machine(only, &mut out)?,
        (DoctorForm::Text, nodes) => listing::nodes(nodes, Timestamp::now(), &mut out)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// As the agent probes it, with the tree of the local executor's as well. Makes a cgroup of our own and removes it again.
fn this_machine() -> anyhow::Result<NodeStatus> {
    let host = HostRoot::local();
    let options = ProbeOptions {
        own_tree: true,
        // Without a kubelet there is nothing to miss.
        kubelet: host.pod_logs.exists(),
        realtime: Some(may_be_realtime()),
        cgroup_root: None,
    };
    let mut capabilities = probe(&host, &options);
    if host.pod_logs.exists() {
        capabilities.push(capture::probe(&host.pod_logs, &host.spool));
    }
    Ok(NodeStatus {
        node: nix::sys::utsname::uname()?.nodename().to_string_lossy().into_owned(),
        boot_id: machine::boot_id(&host)?,
        kernel: machine::kernel_release(&host)?,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities,
        last_heartbeat: Timestamp::now(),
    })
}

/// Tried out on a thread that ends with the question.
fn may_be_realtime() -> Result<(), String> {
    let tried = std::thread::spawn(|| realtime::raise(REALTIME_PRIORITY).map_err(|error| error.to_string()));
    tried.join().unwrap_or_else(|_| Err("the thread that asked died".to_owned()))
}
