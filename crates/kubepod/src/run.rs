//! The run that a pod of a node run belongs to, as its owner: no object of the API server, but what accounting adds up.

use std::collections::BTreeMap;

use jobmeter_protocol::OwnerRef;
use jobmeter_protocol::runs::{OWNER_LABEL, RUN_LABEL};

const API_VERSION: &str = "jobmeter.io/v1";
const KIND: &str = "NodeRun";

/// Whether nothing can be asked about it: it is a run of ours, and the top of its chain.
pub fn is_run(owner: &OwnerRef) -> bool {
    owner.kind == KIND && owner.api_version == API_VERSION
}

/// `<definition>-<run>`, of a pod that has the labels of both.
pub(crate) fn run(labels: Option<&BTreeMap<String, String>>) -> Option<OwnerRef> {
    let label = |key: &str| labels?.get(key).filter(|value| !value.is_empty());
    let (run, definition) = (label(RUN_LABEL)?, label(OWNER_LABEL)?);
    Some(OwnerRef {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        name: format!("{definition}-{run}"),
        uid: format!("run-{run}"),
    })
}
