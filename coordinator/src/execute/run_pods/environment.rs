//! The environment variables of batch-job-controller, by which a job's script knows where it runs and where it reports to.

use jobmeter_decide::runs::CreatePod;
use serde_json::{Value, json};

use crate::runs::address::{Address, AddressError};

/// Where the pod's reports go.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Callbacks {
    host: String,
    port: u16,
    result: String,
    file: String,
    event: String,
}

impl Callbacks {
    /// The token is in the URLs: they are not for a log.
    pub(super) fn new(address: &Address, pod: &CreatePod, token: &str) -> Result<Self, AddressError> {
        let url = |what| address.report_url(&pod.node, &pod.run, token, what);
        let (result, file, event) = (url("result")?, url("file")?, url("event")?);
        Ok(Self { host: address.host.clone(), port: address.port, result, file, event })
    }
}

/// What a template says of these names goes: of doubled ones the API server keeps the last, with no more than a warning.
pub(super) fn append(env: &mut Vec<Value>, pod: &CreatePod, callbacks: &Callbacks) {
    let ours = [
        ("EXECUTION_ID", pod.run.clone()),
        ("NAMESPACE", pod.settings.namespace.clone()),
        ("NODE_NAME", pod.node.clone()),
        ("CALLBACK_SERVICE_NAME", callbacks.host.clone()),
        ("CALLBACK_SERVICE_PORT", callbacks.port.to_string()),
        ("CALLBACK_SERVICE_RESULT_URL", callbacks.result.clone()),
        ("CALLBACK_SERVICE_FILE_URL", callbacks.file.clone()),
        ("CALLBACK_SERVICE_EVENT_URL", callbacks.event.clone()),
    ];
    env.retain(|variable| !ours.iter().any(|(name, _)| variable["name"] == *name));
    env.extend(ours.into_iter().map(|(name, value)| json!({"name": name, "value": value})));
}
