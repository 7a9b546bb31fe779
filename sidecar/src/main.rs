//! The helper in job pods: one static program without a runtime of any kind.
//!
//! In: arguments, the URLs that a run's pod is given in its environment. Out: an exit code, and on stderr a sentence if it is not 0.

use std::io::Write;
use std::process::ExitCode;

mod arguments;
mod report;

use arguments::Asked;
use report::Ended;

fn main() -> ExitCode {
    let report = match arguments::read(lexopt::Parser::from_env()) {
        Ok(Asked::Help(text)) => return print(&text),
        Ok(Asked::Report(report)) => report,
        Err(error) => {
            say(&format!("{error}; see jobmeter-sidecar --help"));
            return Ended::Usage.code();
        }
    };
    report::run(&report, &mut |sentence| say(sentence)).code()
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Nobody can be told that stderr is closed.
fn say(sentence: &str) {
    writeln!(std::io::stderr(), "jobmeter-sidecar: {sentence}").unwrap_or_default();
}
