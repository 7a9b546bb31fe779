//! One file of manifests → [`LocalJob`]s. Follows the API server's validation, so that what runs here is accepted there.

mod container;
mod env;
mod job;
mod not_honoured;
mod pod;

use crate::findings::{Findings, JobFileError, Place, Problem};
use crate::job::LocalJob;
use crate::node::At;
use crate::{JobFile, yaml};

/// Far above any real manifest: the API server itself refuses objects above 1.5 MiB.
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

pub(crate) fn read(file: &str, text: &str) -> Result<JobFile, JobFileError> {
    let refuse = |problem: Problem| JobFileError { file: file.to_owned(), problems: vec![problem] };
    let start = Place { line: 1, column: 1 };
    if text.len() > MAX_TEXT_BYTES {
        let what = format!("is larger than {} MiB", MAX_TEXT_BYTES / 1024 / 1024);
        return Err(refuse(Problem { place: start, path: String::new(), what }));
    }
    let documents = yaml::documents(text).map_err(refuse)?;
    let mut findings = Findings::default();
    if documents.is_empty() {
        findings.problem(start, "", "holds no document");
    }
    let jobs: Vec<LocalJob> = documents.iter().filter_map(|node| document(&At::root(node), &mut findings)).collect();
    let (jobs, notices) = findings.conclude(file, jobs)?;
    Ok(JobFile { jobs, notices })
}

fn document(at: &At<'_>, findings: &mut Findings) -> Option<LocalJob> {
    let mut fields = at.fields(findings)?;
    let kind = fields.require("kind", findings).and_then(|kind| Some((kind.text(findings)?, kind)));
    let version = fields.require("apiVersion", findings).and_then(|version| Some((version.text(findings)?, version)));
    let ((kind, kind_at), (version, version_at)) = (kind?, version?);
    if kind != "Job" {
        kind_at.problem(findings, format!("is {kind}: one machine runs Job documents only"));
        return None;
    }
    if version != "batch/v1" {
        version_at.problem(findings, format!("must be batch/v1 for a Job, is {version}"));
        return None;
    }
    let metadata = fields.require("metadata", findings);
    let spec = fields.require("spec", findings);
    fields.finish(&[("status", "is not read")], findings);
    job::read(&metadata?, &spec?, findings)
}
