//! The command line as a whole: the commands, and the two names of the program.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::acct::AcctArgs;
use crate::completion::CompletionArgs;
use crate::doctor::DoctorArgs;
use crate::eff::EffArgs;
use crate::logs::LogsArgs;
use crate::pools::{PoolArgs, PoolsArgs};
use crate::run::RunArgs;
use crate::runs::RunsArgs;
use crate::source::CHOICE_HELP;
use crate::standalone::StandaloneArgs;
use crate::submit::SubmitArgs;
use crate::top::TopArgs;

/// Exact accounting for one-shot jobs: CPU time and peak memory of every job pod, however short
#[derive(Debug, Parser)]
#[command(name = "jobmeter", version, propagate_version = true, max_term_width = 120, after_long_help = after_help())]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Run(RunArgs),
    Standalone(StandaloneArgs),
    Submit(SubmitArgs),
    Acct(AcctArgs),
    Eff(EffArgs),
    Logs(LogsArgs),
    Top(TopArgs),
    Pools(PoolsArgs),
    Pool(PoolArgs),
    Runs(RunsArgs),
    Doctor(DoctorArgs),
    Completion(CompletionArgs),
}

fn after_help() -> String {
    format!(
        "{CHOICE_HELP}
Installed under the name kubectl-jobmeter, this program is `kubectl jobmeter`.

Exit codes: 0 done; 1 not found, no answer, or a proof that failed; 64 a mistake on the command line or in a file; 70 and 75 \
from `run` and `standalone` when a task died or the shutdown overran its grace. `jobmeter run -- CMD` ends as CMD does.
"
    )
}

/// The command under the name by which it was called.
pub fn command(plugin: bool) -> clap::Command {
    if plugin { Cli::command().bin_name("kubectl jobmeter") } else { Cli::command() }
}

pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>, plugin: bool) -> Result<Cli, clap::Error> {
    let matches = command(plugin).try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_under_both_names() {
        command(false).debug_assert();
        command(true).debug_assert();
    }

    #[test]
    fn every_command_has_examples_and_exit_codes_in_its_help() {
        for mut sub in command(false).get_subcommands().cloned().collect::<Vec<_>>() {
            let help = sub.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("Exit code"), "{}:\n{help}", sub.get_name());
        }
    }
}
