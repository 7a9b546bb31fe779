//! Reads `batch/v1` Job manifests so that one machine can run them.
//!
//! In: the text of a file, any number of YAML documents. Out: [`LocalJob`]s, and a [`Notice`] for each field that a cluster
//! would honour and one machine does not. What cannot be understood is a [`Problem`] with file, line, column and path; all
//! of them are reported at once. Nothing is ignored in silence.

mod findings;
mod job;
mod manifest;
mod node;
mod resolve;
mod yaml;

pub use findings::{JobFileError, Notice, Problem};
pub use job::{Container, EnvSource, EnvVar, JobName, LocalJob, PodTemplate, ResourceField};
pub use manifest::MAX_TEXT_BYTES;
pub use resolve::{Invocation, PodFacts};

/// What one file says.
#[derive(Clone, Debug)]
pub struct JobFile {
    /// In the order of the file.
    pub jobs: Vec<LocalJob>,
    /// Each field that is not honoured, once, where it was met first.
    pub notices: Vec<Notice>,
}

/// Reads every document of `text`; `file` is the name that errors carry.
pub fn read(file: &str, text: &str) -> Result<JobFile, JobFileError> {
    manifest::read(file, text)
}
