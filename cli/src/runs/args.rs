//! The command line of `jobmeter runs`.

use jobmeter_protocol::runs::{RunQuery, RunState};

use crate::source::{SourceArgs, with_choice};

/// Node runs: a pod on every matching node, so many at a time
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_long_help = with_choice(HELP))]
pub struct RunsArgs {
    #[command(subcommand)]
    pub what: Option<What>,

    #[command(flatten)]
    pub list: ListArgs,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum What {
    /// List runs, newest first; the same as no word at all
    #[command(after_long_help = with_choice(LIST_HELP))]
    List(ListArgs),
    /// List what may become runs, and when it is due
    #[command(after_long_help = with_choice(DEFINITIONS_HELP))]
    Definitions(DefinitionsArgs),
    /// Show one run: what came of it on each node, and why
    #[command(after_long_help = with_choice(SHOW_HELP))]
    Show(OneArgs),
    /// Follow a run to its end
    #[command(after_long_help = with_choice(WATCH_HELP))]
    Watch(WatchArgs),
    /// Start a run now
    #[command(after_long_help = with_choice(START_HELP))]
    Start(StartArgs),
    /// Stop a run: no more pods, and those that run are deleted
    #[command(after_long_help = with_choice(CANCEL_HELP))]
    Cancel(OneArgs),
    /// Run again on the nodes that failed or were cancelled
    #[command(after_long_help = with_choice(RETRY_HELP))]
    Retry(RetryArgs),
    /// Compare two runs node by node
    #[command(after_long_help = with_choice(DIFF_HELP))]
    Diff(DiffArgs),
    /// Show what the pods of a run posted as results
    #[command(after_long_help = with_choice(RESULTS_HELP))]
    Results(OneArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// Only runs of this definition
    #[arg(long, value_name = "NAME")]
    pub definition: Option<String>,

    /// Only runs in this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub state: Option<State>,

    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,

    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Form,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct DefinitionsArgs {
    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Form,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct OneArgs {
    /// ID of the run, or name of a definition: its newest run
    #[arg(value_name = "ID|NAME")]
    pub run: String,

    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Form,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct WatchArgs {
    /// ID of the run, or name of a definition: its newest run
    #[arg(value_name = "ID|NAME")]
    pub run: String,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct StartArgs {
    /// Name of the definition
    pub name: String,

    /// Only on these of its nodes
    #[arg(long, value_name = "NODE,…", value_delimiter = ',')]
    pub nodes: Vec<String>,

    /// Follow it to its end
    #[arg(short, long, conflicts_with = "output")]
    pub watch: bool,

    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Form,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct RetryArgs {
    /// ID of the run, or name of a definition: its newest run
    #[arg(value_name = "ID|NAME")]
    pub run: String,

    /// Follow the new run to its end
    #[arg(short, long, conflicts_with = "output")]
    pub watch: bool,

    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Form,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct DiffArgs {
    /// The one, by ID or as the newest of a definition
    #[arg(value_name = "A")]
    pub a: String,

    /// The other
    #[arg(value_name = "B")]
    pub b: String,

    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Form,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Columns for people
    #[default]
    Table,
    /// All that the coordinator says
    Json,
    /// The same as YAML
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum State {
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl ListArgs {
    pub(super) fn query(&self) -> RunQuery {
        let state = self.state.map(|state| match state {
            State::Running => RunState::Running,
            State::Succeeded => RunState::Succeeded,
            State::Failed => RunState::Failed,
            State::Cancelled => RunState::Cancelled,
        });
        RunQuery { definition: self.definition.clone(), state, ..RunQuery::default() }
    }
}

const HELP: &str = "\
Examples:
  jobmeter runs                                      the newest 50
  jobmeter runs definitions                          what may become runs, and when it is due
  jobmeter runs start disk-check --watch             one now, to its end
  jobmeter runs show disk-check                      the newest one, node by node
  jobmeter runs diff 202611201930 202611211930       what has changed since yesterday

Starting, cancelling and repeating need the operator's token. In a cluster it is read from Secret jobmeter-operator in the \
coordinator's namespace: you need `get` on that Secret, and `create` on `services/proxy`. With --server it is the token of \
--token-file or JOBMETER_TOKEN. Node runs need a cluster; on one machine there are none.

Exit codes: 0; 1 not found, refused, no answer, or a run that was watched and did not succeed; 64 a wrong flag.
";

const LIST_HELP: &str = "\
Examples:
  jobmeter runs list --definition disk-check --state failed
  jobmeter runs list -o json | jq -r '.[] | select(.nodes.failed > 0) | .id'

DONE counts the nodes that are over, in whatever way. Only -n narrows to a namespace; the context's does not.

Exit codes: 0; 1 no answer; 64 a wrong flag.
";

const DEFINITIONS_HELP: &str = "\
Examples:
  jobmeter runs definitions
  jobmeter runs definitions -o json | jq -r '.[] | select(.suspended) | .name'

SKIPPED says why the last trigger that did not become a run did not.

Exit codes: 0; 1 no answer; 64 a wrong flag.
";

const SHOW_HELP: &str = "\
Examples:
  jobmeter runs show 202611211930
  jobmeter runs show disk-check                      its newest run
  jobmeter runs show disk-check -o json | jq -r '.nodes[] | select(.state == \"failed\") | .node'

ATTEMPT counts from 1. TOOK is the time from the first container's start to the end. REPORTED says whether this attempt posted a \
result. FILES counts those of all attempts.

Exit codes: 0; 1 no such run, or no answer; 64 a wrong flag.
";

const WATCH_HELP: &str = "\
Examples:
  jobmeter runs watch disk-check
  jobmeter runs watch 202611211930 && echo all good

Asks once a second. Without a terminal there is a line for each change. Ctrl-C ends the watching, not the run.

Exit codes: 0 the run succeeded; 1 it failed or was cancelled, or there is no such run, or no answer for two minutes; 64 a wrong flag.
";

const START_HELP: &str = "\
Examples:
  jobmeter runs start disk-check
  jobmeter runs start disk-check --nodes node-a,node-b --watch
  run=$(jobmeter runs start disk-check -o json | jq -r .id)

Exit codes: 0 it began, and with --watch it succeeded; 1 refused, no answer, or with --watch it did not succeed; 64 a wrong flag.
";

const CANCEL_HELP: &str = "\
Examples:
  jobmeter runs cancel 202611211930
  jobmeter runs cancel disk-check                    its newest run

Exit codes: 0 it will end; 1 no such run, it is over already, refused, or no answer; 64 a wrong flag.
";

const RETRY_HELP: &str = "\
Examples:
  jobmeter runs retry 202611211930 --watch

Exit codes: 0 a new run began, and with --watch it succeeded; 1 there is nothing to repeat, refused, no answer, or with --watch it \
did not succeed; 64 a wrong flag.
";

const DIFF_HELP: &str = "\
Examples:
  jobmeter runs diff 202611201930 202611211930
  jobmeter runs diff 202611201930 disk-check -o json | jq '.changes[] | select(.change_ratio > 0.5)'

Shown is what differs on a node: its state, its exit code, how long it took where that is more than 20 % of A, each value that it \
posted; and nodes of only one of the two. CHANGE is B relative to A.

Exit codes: 0, whether they differ or not; 1 no such run, or no answer; 64 a wrong flag.
";

const RESULTS_HELP: &str = "\
Examples:
  jobmeter runs results disk-check
  jobmeter runs results 202611211930 -o json | jq '.[] | [.node, .gauges.read[0].value]'

Exit codes: 0; 1 no such run, or no answer; 64 a wrong flag.
";
