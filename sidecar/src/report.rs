//! `report result|file|event`: what a pod of a node run has to say, to the coordinator.
//!
//! In: a [`Report`]. Out: one post for each body, tried again while that may help; sentences for people; how it [`Ended`].

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

mod body;
mod post;
mod retry;
pub(crate) mod secret;

use body::Body;
use post::{Client, Failure};
use secret::SecretUrl;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) url: SecretUrl,
    pub(crate) what: What,
    /// From the first try on, of each body.
    pub(crate) retry_for: Duration,
}

#[derive(Debug)]
pub(crate) enum What {
    Result { path: OsString },
    Files { paths: Vec<OsString>, name: Option<OsString>, content_type: Option<String> },
    Event(Event),
}

/// As the callback takes it.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Event {
    pub(crate) warning: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) action: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) args: Vec<String>,
}

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Taken,
    /// The server said no, or a file could not be read: the same call would fail again.
    Refused,
    Usage,
    Unavailable,
}

impl Ended {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Taken => 0,
            Self::Refused => 1,
            Self::Usage => 64,
            Self::Unavailable => 69,
        })
    }
}

pub(crate) fn run(report: &Report, say: &mut dyn FnMut(&str)) -> Ended {
    let client = Client::new();
    let mut send = |url: &SecretUrl, content_type: &str, body: Result<Body, body::ReadError>| {
        let sent = body.map_err(Failure::from).and_then(|body| retry::send(&client, url, content_type, body, report.retry_for));
        match sent {
            Ok(()) => Ended::Taken,
            Err(failure) => {
                say(&failure.to_string());
                failure.ended()
            }
        }
    };
    match &report.what {
        What::Result { path } => send(&report.url, JSON, Body::open(path)),
        What::Event(event) => match serde_json::to_vec(event) {
            Ok(text) => send(&report.url, JSON, Ok(Body::Bytes(text))),
            Err(error) => {
                say(&format!("the event cannot be written as JSON: {error}"));
                Ended::Refused
            }
        },
        What::Files { paths, name, content_type } => {
            let content_type = content_type.as_deref().unwrap_or(BYTES);
            let mut ended = Ended::Taken;
            for path in paths {
                let url = match file_name(name.as_deref(), path) {
                    Some(name) => {
                        report.url.with_query("name", &percent_encode(name.as_encoded_bytes(), NON_ALPHANUMERIC).to_string())
                    }
                    None => report.url.clone(),
                };
                match send(&url, content_type, Body::open(path)) {
                    Ended::Taken => {}
                    // Others may still be wanted.
                    Ended::Refused => ended = Ended::Refused,
                    // For each of them the same wait would be for nothing.
                    other => return other,
                }
            }
            ended
        }
    }
}

/// `None`: the server finds a name for what came from stdin.
fn file_name<'a>(given: Option<&'a OsStr>, path: &'a OsStr) -> Option<&'a OsStr> {
    match given {
        Some(name) => Some(name),
        None if path == "-" => None,
        None => Path::new(path).file_name(),
    }
}
