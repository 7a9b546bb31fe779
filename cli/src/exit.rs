//! How the process ends: which error means which exit code, and what is printed of it.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the question could not be answered, what was named is unknown, or a proof failed |
//! | 64 | the command line, a file of the user's or the configuration is wrong |
//! | 70, 75 | `run` and `standalone`: a task died; the shutdown overran its grace |
//!
//! `jobmeter run -- CMD` ends with the exit code of CMD.

use std::io::{self, Write as _};
use std::process::ExitCode;

pub use jobmeter_daemon::exit::{Code, Usage};

use crate::output::printable;
use crate::run::TaskDied;
use crate::source::SourceError;

/// The answer is no, or there is none.
pub const FAILED: u8 = 1;

/// Prints the error with its causes to stderr and says how the process ends.
pub fn of_error(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    // A message may have several lines (a manifest with a caret below its mistake); each must be safe for a terminal.
    let text = format!("{error:#}");
    let lines: Vec<_> = text.lines().map(printable).collect();
    // Nobody reads stderr when it is closed; the exit code still tells.
    writeln!(io::stderr(), "jobmeter: {}", lines.join("\n")).unwrap_or_default();
    match error.chain().find_map(|cause| cause.downcast_ref::<TaskDied>()) {
        Some(TaskDied(code)) => (*code).into(),
        None if is_usage(error) => Code::Usage.into(),
        None => ExitCode::from(FAILED),
    }
}

fn is_usage(error: &anyhow::Error) -> bool {
    let is_choice = |cause: &SourceError| matches!(cause, SourceError::Choice(_));
    Code::of(error) == Code::Usage || error.chain().any(|cause| cause.downcast_ref().is_some_and(is_choice))
}

/// The reader of our output went away (`| head`): not an error of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_closed_pipe_is_a_quiet_success_and_a_usage_error_is_64() {
        let pipe = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("failed to write").unwrap_err();
        assert_eq!(format!("{:?}", of_error(&pipe)), format!("{:?}", ExitCode::SUCCESS));
        let usage = Err::<(), _>(Usage("no such field".into())).context("in --format").unwrap_err();
        assert_eq!(format!("{:?}", of_error(&usage)), format!("{:?}", ExitCode::from(64)));
        let choice = SourceError::from(crate::source::ChoiceError::Nothing).into();
        assert_eq!(format!("{:?}", of_error(&choice)), format!("{:?}", ExitCode::from(64)));
        assert_eq!(format!("{:?}", of_error(&anyhow::anyhow!("x"))), format!("{:?}", ExitCode::from(1)));
    }
}
