//! `jobmeter`, the command people use; also `kubectl jobmeter`.
//!
//! For the other rooms of this crate:
//! - `run.rs`, `standalone.rs`, `submit.rs` each export `XArgs` (`clap::Args`) and
//!   `pub async fn run(args: XArgs) -> anyhow::Result<std::process::ExitCode>` (`run` and `standalone` also take a forker).
//! - tables: [`output::render_records`]; the report of one pod (`jobmeter run -- CMD`): [`eff::report::write`].
//! - a wrong flag or file of the user's: return [`exit::Usage`], it ends with 64; every other error ends with 1.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

pub mod acct;
pub mod args;
pub mod completion;
pub mod doctor;
pub mod eff;
pub mod exit;
pub mod logs;
pub mod output;
pub mod pools;
pub mod run;
pub mod runs;
mod screen;
pub mod source;
pub mod standalone;
pub mod submit;
pub mod top;
mod workload;

use crate::args::{Cli, Command};

/// The program: everything between the arguments and the exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before anything that costs CPU or memory: a workload must be what it says it is.
    if arguments.get(1).is_some_and(|word| word == workload::COMMAND) {
        return workload::main(&arguments[2..]);
    }
    let cli = match args::parse(arguments, is_kubectl_plugin()) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { exit::Code::Usage } else { exit::Code::Done };
            // Help that nobody can read any more (`--help | head`) is no failure.
            error.print().unwrap_or_default();
            return code.into();
        }
    };
    execute(cli).unwrap_or_else(|error| exit::of_error(&error))
}

fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    // reqwest and kube are built without a provider of their own. An error means that one is installed already.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    match cli.command {
        // While there is one thread and little memory: what forks the jobs.
        Command::Run(args) => {
            let forker = run::fork()?;
            block_on(run::run(args, forker))
        }
        Command::Standalone(args) => {
            let forker = run::fork()?;
            block_on(standalone::run(args, forker))
        }
        Command::Submit(args) => block_on(submit::run(args)),
        Command::Acct(args) => block_on(acct::run(args)),
        Command::Eff(args) => block_on(eff::run(args)),
        Command::Logs(args) => block_on(logs::run(args)),
        Command::Top(args) => block_on(top::run(args)),
        Command::Pools(args) => block_on(pools::all(args)),
        Command::Pool(args) => block_on(pools::one(args)),
        Command::Runs(args) => block_on(runs::run(args)),
        Command::Doctor(args) => {
            let forker = args.prove.then(run::fork).transpose()?;
            block_on(doctor::run(args, forker))
        }
        Command::Completion(args) => completion::run(args),
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(command);
    // A blocking thread (a look-up that hangs) must not hold the process back.
    runtime.shutdown_background();
    code
}

/// kubectl starts plugins by their file name.
pub fn is_kubectl_plugin() -> bool {
    let name = std::env::args_os().next();
    name.as_deref().and_then(|path| Path::new(path).file_stem()).is_some_and(|name| name == "kubectl-jobmeter")
}
