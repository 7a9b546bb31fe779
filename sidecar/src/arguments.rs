//! The command line. Everything that is wrong with it is said before anything is sent.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::prelude::*;
use lexopt::{Arg, Parser};

use crate::report::secret::{SecretUrl, UrlError};
use crate::report::{Event, Report, What};

const HELP: &str = "\
The static client of a node run's pod, for images without curl.

jobmeter-sidecar report result [FILE|-]     post the JSON of FILE, or of stdin, as the node's result
jobmeter-sidecar report file PATH|-…        post each file; a later one of the same name replaces it
      --name NAME                           what it is called there, of one file; default: its base name
      --content-type TYPE                   default: application/octet-stream
jobmeter-sidecar report event [ARG…]        make a Kubernetes Event on the pod
      --reason REASON                       one word in UpperCamelCase; must be given
      --message TEXT                        must be given; where there are ARGs, %s stands for the next of them
      --warning                             Warning in place of Normal
      --action ACTION                       what was done

Of all three:
      --url URL           in place of CALLBACK_SERVICE_RESULT_URL, _FILE_URL, _EVENT_URL, which every pod of a run has
      --retry-for TIME    go on trying so long (500ms, 60s, 2m) while the server cannot be reached, or answers
                          429 or 5xx; default: 60s. What comes from stdin is sent again only if it is 1 MiB at most.

Exit codes: 0 taken, 1 refused (the server's sentence is on stderr), 64 usage, 69 the server could not be reached
";

/// What a person wants.
#[derive(Debug)]
pub(crate) enum Asked {
    Help(String),
    Report(Report),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error(transparent)]
    Arguments(#[from] lexopt::Error),
    #[error("a command is missing: report result, report file or report event")]
    NoCommand,
    #[error("there is no command {0:?}: report result, report file or report event")]
    NoSuchCommand(String),
    #[error("report {0} takes one FILE at most")]
    TooMany(&'static str),
    #[error("report file needs a PATH, or - for stdin")]
    NoPath,
    #[error("--name is of one file, and there are {0}")]
    OneName(usize),
    #[error("stdin (-) can be read once")]
    StdinTwice,
    #[error("report event needs {0}")]
    Missing(&'static str),
    #[error("--retry-for {given:?} is no time: write it like 500ms, 60s or 2m")]
    Time { given: String },
    #[error("--content-type {0:?} holds bytes that no header may hold")]
    ContentType(String),
    #[error(transparent)]
    Url(#[from] UrlError),
}

#[derive(Clone, Copy)]
enum Kind {
    Result,
    File,
    Event,
}

/// Everything that was written, of whatever command.
#[derive(Default)]
struct Written {
    values: Vec<OsString>,
    url: Option<String>,
    retry_for: Option<Duration>,
    name: Option<OsString>,
    content_type: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    action: Option<String>,
    warning: bool,
}

pub(crate) fn read(mut parser: Parser) -> Result<Asked, UsageError> {
    let Some(kind) = command(&mut parser)? else { return Ok(Asked::Help(HELP.to_owned())) };
    let mut written = Written::default();
    while let Some(argument) = parser.next()? {
        match (argument, kind) {
            (Short('h') | Long("help"), _) => return Ok(Asked::Help(HELP.to_owned())),
            (Long("url"), _) => written.url = Some(parser.value()?.string()?),
            (Long("retry-for"), _) => written.retry_for = Some(time(parser.value()?.string()?)?),
            (Long("name"), Kind::File) => written.name = Some(parser.value()?),
            (Long("content-type"), Kind::File) => written.content_type = Some(content_type(parser.value()?.string()?)?),
            (Long("reason"), Kind::Event) => written.reason = Some(parser.value()?.string()?),
            (Long("message"), Kind::Event) => written.message = Some(parser.value()?.string()?),
            (Long("action"), Kind::Event) => written.action = Some(parser.value()?.string()?),
            (Long("warning"), Kind::Event) => written.warning = true,
            (Value(value), _) => written.values.push(value),
            (other, _) => return Err(other.unexpected().into()),
        }
    }
    report(kind, written).map(Asked::Report)
}

/// `None`: help is wanted.
fn command(parser: &mut Parser) -> Result<Option<Kind>, UsageError> {
    match parser.next()? {
        None => return Err(UsageError::NoCommand),
        Some(Short('h') | Long("help")) => return Ok(None),
        Some(Value(word)) if word == "help" => return Ok(None),
        Some(Value(word)) if word == "report" => {}
        Some(Value(word)) => return Err(UsageError::NoSuchCommand(word.to_string_lossy().into_owned())),
        Some(other) => return Err(Arg::unexpected(other).into()),
    }
    match parser.next()? {
        None => Err(UsageError::NoCommand),
        Some(Short('h') | Long("help")) => Ok(None),
        Some(Value(word)) if word == "result" => Ok(Some(Kind::Result)),
        Some(Value(word)) if word == "file" => Ok(Some(Kind::File)),
        Some(Value(word)) if word == "event" => Ok(Some(Kind::Event)),
        Some(Value(word)) => Err(UsageError::NoSuchCommand(format!("report {}", word.to_string_lossy()))),
        Some(other) => Err(Arg::unexpected(other).into()),
    }
}

fn report(kind: Kind, written: Written) -> Result<Report, UsageError> {
    let (variable, what) = match kind {
        Kind::Result => {
            if written.values.len() > 1 {
                return Err(UsageError::TooMany("result"));
            }
            let path = written.values.into_iter().next().unwrap_or_else(|| "-".into());
            ("CALLBACK_SERVICE_RESULT_URL", What::Result { path })
        }
        Kind::File => {
            let paths = written.values;
            if paths.is_empty() {
                return Err(UsageError::NoPath);
            }
            if written.name.is_some() && paths.len() > 1 {
                return Err(UsageError::OneName(paths.len()));
            }
            if paths.iter().filter(|path| *path == "-").count() > 1 {
                return Err(UsageError::StdinTwice);
            }
            ("CALLBACK_SERVICE_FILE_URL", What::Files { paths, name: written.name, content_type: written.content_type })
        }
        Kind::Event => {
            let text = |value: Option<String>, name| value.filter(|text| !text.is_empty()).ok_or(UsageError::Missing(name));
            let event = Event {
                warning: written.warning,
                action: written.action.unwrap_or_default(),
                reason: text(written.reason, "--reason")?,
                message: text(written.message, "--message")?,
                args: written.values.into_iter().map(|value| Ok(value.string()?)).collect::<Result<_, UsageError>>()?,
            };
            ("CALLBACK_SERVICE_EVENT_URL", What::Event(event))
        }
    };
    let url = match written.url {
        Some(url) => SecretUrl::new("--url", url)?,
        None => SecretUrl::of_variable(variable)?,
    };
    Ok(Report { url, what, retry_for: written.retry_for.unwrap_or(Duration::from_secs(60)) })
}

fn time(given: String) -> Result<Duration, UsageError> {
    humantime::parse_duration(&given).map_err(|_| UsageError::Time { given })
}

fn content_type(given: String) -> Result<String, UsageError> {
    let fits = !given.is_empty() && given.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if fits { Ok(given) } else { Err(UsageError::ContentType(given)) }
}
