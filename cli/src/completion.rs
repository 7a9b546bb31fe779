//! `jobmeter completion`: the script that a shell needs to complete this command line.

use std::io::{self, Write};
use std::process::ExitCode;

use clap_complete::Shell;

/// Print the completion script of a shell
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct CompletionArgs {
    #[arg(value_enum)]
    pub shell: Shell,
}

const HELP: &str = "\
Examples:
  source <(jobmeter completion bash)
  jobmeter completion zsh > \"${fpath[1]}/_jobmeter\"
  jobmeter completion fish > ~/.config/fish/completions/jobmeter.fish

Exit codes: 0; 64 an unknown shell.
";

pub fn run(args: CompletionArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::args::command(false), "jobmeter", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
