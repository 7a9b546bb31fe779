//! Pods of runs: made, bound, deleted; their logs; and the Events that they ask for. Every call ends in time and may be repeated.

use futures::future::BoxFuture;
use jobmeter_decide::runs::{Answer, CreatePod, RunPod};

use crate::runs::reports::ReportDirectory;

mod environment;
pub mod events;
#[cfg(test)]
mod fake_api;
mod kube;
mod owner;
mod pod;
pub mod save_logs;

pub use events::{EventError, KubeRunEvents, PodEvent, RunEvents};
pub use kube::KubeRunPods;
pub use owner::Owner;
pub use save_logs::SaveLogsError;

/// What the runs task has done to the cluster.
pub trait RunPods: Send + Sync {
    /// Answers [`Answer::Made`] also where it had been made before. A pod of that name that is somebody else's is a refusal.
    fn create<'a>(&'a self, pod: &'a CreatePod) -> BoxFuture<'a, Answer>;
    fn delete<'a>(&'a self, namespace: &'a str, name: &'a str, uid: &'a str) -> BoxFuture<'a, Answer>;
    fn bind<'a>(&'a self, namespace: &'a str, name: &'a str, uid: &'a str, node: &'a str) -> BoxFuture<'a, Answer>;
    /// Deletes every pod of the run, of whatever attempt. [`Answer::Done`]: they are on their way out.
    fn forget<'a>(&'a self, namespace: &'a str, run: &'a str) -> BoxFuture<'a, Answer>;
    /// Copies what the pod's containers wrote into the run's directory, which is there, beside the reports. Of several attempts the
    /// last one's stays.
    fn save_logs<'a>(&'a self, pod: &'a RunPod, reports: &'a ReportDirectory) -> BoxFuture<'a, Result<(), SaveLogsError>>;
}
