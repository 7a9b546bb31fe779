//! What a pod's containers did, of all kinds. In: statuses. Out: starts, ends, and which of them failed first.

use std::collections::HashSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, PodSpec, PodStatus};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Init,
    /// An init container that goes on beside the others, and is ended after them.
    Sidecar,
    Main,
}

pub(super) struct Containers<'a>(Vec<(Kind, &'a ContainerStatus)>);

impl<'a> Containers<'a> {
    pub(super) fn of(spec: &'a PodSpec, status: &'a PodStatus) -> Self {
        let init = spec.init_containers.iter().flatten();
        let sidecars: HashSet<&str> = init
            .filter(|container| container.restart_policy.as_deref() == Some("Always"))
            .map(|container| container.name.as_str())
            .collect();
        let kind = |name: &str| if sidecars.contains(name) { Kind::Sidecar } else { Kind::Init };
        let init = status.init_container_statuses.iter().flatten().map(|status| (kind(&status.name), status));
        let main = status.container_statuses.iter().flatten().map(|status| (Kind::Main, status));
        Self(init.chain(main).collect())
    }

    pub(super) fn main_started(&self) -> bool {
        let mut main = self.0.iter().filter(|(kind, _)| *kind == Kind::Main);
        main.any(|(_, status)| starts(status).next().is_some())
    }

    pub(super) fn started(&self) -> Option<Timestamp> {
        self.0.iter().flat_map(|(_, status)| starts(status)).min()
    }

    pub(super) fn finished(&self) -> Option<Timestamp> {
        let ended = self.0.iter().filter_map(|(_, status)| terminated(status.state.as_ref()));
        ended.filter_map(finished).max()
    }

    /// A sidecar is killed when the others have ended: only where nothing else failed it is the one that failed.
    pub(super) fn first_failed(&self) -> Option<&'a ContainerStateTerminated> {
        let ended = self.0.iter().filter_map(|(kind, status)| Some((kind, terminated(status.state.as_ref())?)));
        let failed = ended.filter(|(_, ended)| ended.exit_code != 0);
        let first = failed.min_by_key(|(kind, ended)| (**kind == Kind::Sidecar, finished(ended).unwrap_or(Timestamp::MAX)));
        first.map(|(_, ended)| ended)
    }

    /// Reason and message of those that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(|(_, status)| {
            let waiting = status.state.as_ref()?.waiting.as_ref()?;
            let reason = waiting.reason.as_deref().filter(|reason| !reason.is_empty())?;
            Some((reason, waiting.message.as_deref().unwrap_or_default()))
        })
    }
}

fn terminated(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref()
}

/// Of its runs that are known. One that could not be started has its start in 1970.
fn starts(status: &ContainerStatus) -> impl Iterator<Item = Timestamp> {
    let running = status.state.as_ref().and_then(|state| state.running.as_ref()?.started_at.as_ref());
    let ended = [status.state.as_ref(), status.last_state.as_ref()];
    let ended = ended.into_iter().filter_map(|state| terminated(state)?.started_at.as_ref());
    running.into_iter().chain(ended).map(|time| time.0).filter(|time| *time > Timestamp::UNIX_EPOCH)
}

fn finished(ended: &ContainerStateTerminated) -> Option<Timestamp> {
    ended.finished_at.as_ref().map(|time| time.0).filter(|time| *time > Timestamp::UNIX_EPOCH)
}
