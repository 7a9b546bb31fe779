//! Sets up the log of a process: one line per event on stderr, as text or as JSON, panics included. Input: format and filter;
//! output: none, but every later `tracing` event is written.

mod json;

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use serde::{Deserialize, Serialize};
use tracing::error;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, filter};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("`{filter}` is no log filter")]
    Filter { filter: String, source: filter::ParseError },
    #[error("failed to set up logging")]
    Install(#[source] TryInitError),
}

/// `filter` is a list of `level` and `target=level`, as `RUST_LOG` has it: `info,jobmeter_agent=debug`. Once per process.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let terminal = std::io::stderr().is_terminal();
    subscriber(format, filter, terminal, std::io::stderr)?.try_init().map_err(LoggingError::Install)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match format {
        // Left alone on a terminal, where the formatter honours NO_COLOR.
        LogFormat::Text if colours => Box::new(builder.finish()),
        LogFormat::Text => Box::new(builder.with_ansi(false).finish()),
        LogFormat::Json => Box::new(builder.fmt_fields(JsonFields::new()).event_format(json::Json).finish()),
    })
}

/// A panic is an event like any other: one line, in the format that was asked for, within the span of its task.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    error!(location, what = panic.payload_as_str(), "panicked");
}

#[cfg(test)]
mod tests;
