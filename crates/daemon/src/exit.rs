//! What the exit code of a process means, and the one way out of `main`: [`run`].

use std::error::Error;
use std::process::ExitCode;

use tokio::runtime::Builder;
use tracing::error;

use crate::config::{ConfigError, Invalid};
use crate::logging::LoggingError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Done = 0,
    /// `EX_USAGE`: wrong arguments or configuration. Trying again will not help.
    Usage = 64,
    /// `EX_SOFTWARE`: a task ended unexpectedly, or the process could not start.
    TaskDied = 70,
    /// `EX_TEMPFAIL`: the shutdown overran its grace, or was cut short by a second signal.
    GraceOverrun = 75,
}

/// A wrong invocation that neither clap nor the configuration's types can see. Exits with [`Code::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Code {
    /// What a process exits with that could not start, or not go on, because of `error`.
    pub fn of(error: &anyhow::Error) -> Self {
        let is_usage = |cause: &(dyn Error + 'static)| {
            cause.is::<Usage>() || cause.is::<ConfigError>() || cause.is::<Invalid>() || cause.is::<LoggingError>()
        };
        if error.chain().any(is_usage) { Self::Usage } else { Self::TaskDied }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Parses the command line. The message (or the help that was asked for) is printed; the code is to be returned by `main`.
pub fn parse_args<A: clap::Parser>() -> Result<A, Code> {
    A::try_parse().map_err(|error| {
        // Nobody reads the help when the terminal is gone; the code still tells.
        error.print().unwrap_or_default();
        if error.use_stderr() { Code::Usage } else { Code::Done }
    })
}

/// Runs a process to its end on a runtime of its own and says how to exit. Errors are logged, or printed if logging is not
/// set up yet.
///
/// The runtime is left without waiting for blocking threads: once the grace is over, nothing may hold the process back.
pub fn run<C: Into<ExitCode>>(runtime: &mut Builder, process: impl Future<Output = anyhow::Result<C>>) -> ExitCode {
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("failed to start the async runtime")),
    };
    let code = match runtime.block_on(process) {
        Ok(code) => code.into(),
        Err(error) => fail(&error),
    };
    runtime.shutdown_background();
    code
}

fn fail(error: &anyhow::Error) -> ExitCode {
    if tracing::dispatcher::has_been_set() {
        error!(error = AsRef::<dyn Error>::as_ref(error), "the process cannot go on");
    } else {
        eprintln!("error: {error:#}");
    }
    Code::of(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problems;

    #[test]
    fn a_configuration_error_is_a_usage_error_however_deep_in_the_chain() {
        let mut problems = Problems::default();
        problems.add("interval", "is zero");
        let error = anyhow::Error::new(problems.finish().unwrap_err()).context("failed to start the agent");
        assert_eq!(Code::of(&error), Code::Usage);
        assert_eq!(Code::of(&Usage("give a file or a command".into()).into()), Code::Usage);
        assert_eq!(Code::of(&anyhow::anyhow!("disk full")), Code::TaskDied);
    }
}
