//! The watcher's events → observations, and their counts.

use jobmeter_decide::books::Observation;

use super::{Keeper, State, work::tree};
use crate::watch::{KernelEvent, SeenBy};

impl Keeper {
    pub(super) async fn take_kernel(&self, state: &mut State, events: Vec<KernelEvent>) -> anyhow::Result<()> {
        for event in events {
            self.count(&event);
            match event {
                KernelEvent::Overflowed { .. } => tracing::warn!("inotify queue overflowed, cgroups were scanned anew"),
                KernelEvent::Problem { path, why } => {
                    let path = path.display().to_string();
                    tracing::warn!(path, why, "kernel file could not be read");
                    if let Some(pod_uid) = self.named_in(&path) {
                        self.observe(state, &pod_uid, Observation::Malformed { path, why }).await?;
                    }
                }
                event => {
                    if let Some((pod_uid, observation)) = observation(event) {
                        self.observe(state, &pod_uid, observation).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The pod whose cgroup a path is in. The systemd driver writes UIDs with underscores.
    fn named_in(&self, path: &str) -> Option<String> {
        let path = path.replace('_', "-");
        self.books().followed().find(|uid| path.contains(*uid)).map(str::to_owned)
    }

    fn count(&self, event: &KernelEvent) {
        let kind = match event {
            KernelEvent::PodAppeared { .. } => "pod_appeared",
            KernelEvent::ContainerAppeared { .. } => "container_appeared",
            KernelEvent::ContainerEnded { container, pod, seen_by, .. } => {
                let seen_by = word(*seen_by);
                for (level, reading) in [("container", container), ("pod", pod)] {
                    if reading.is_some() {
                        self.metrics.readings.with_label_values(&[level, seen_by]).inc();
                    }
                }
                "container_ended"
            }
            KernelEvent::PodRead { .. } => "pod_read",
            KernelEvent::PodGone { .. } => "pod_gone",
            KernelEvent::Overflowed { .. } => {
                self.metrics.overflows.inc();
                "overflowed"
            }
            KernelEvent::Problem { .. } => {
                self.metrics.problems.inc();
                "problem"
            }
        };
        self.metrics.kernel_events.with_label_values(&[kind]).inc();
    }
}

fn observation(event: KernelEvent) -> Option<(String, Observation)> {
    Some(match event {
        KernelEvent::PodAppeared { pod_uid, segment, at, kind } => {
            (pod_uid, Observation::Appeared { segment, at, tree: tree(kind) })
        }
        KernelEvent::ContainerAppeared { pod_uid, container_id, order, at, late } => {
            (pod_uid, Observation::ContainerAppeared { container_id, order, at: (!late).then_some(at) })
        }
        KernelEvent::ContainerEnded { pod_uid, container_id, at, container, pod, late, .. } => {
            let (container, pod) = (container.map(Box::new), pod.map(Box::new));
            (pod_uid, Observation::ContainerEnded { container_id, at, container, pod, late })
        }
        KernelEvent::PodRead { pod_uid, reading } => (pod_uid, Observation::Read(Box::new(reading))),
        KernelEvent::PodGone { pod_uid, segment, reading, at } => {
            (pod_uid, Observation::Gone { segment, reading: reading.map(Box::new), at })
        }
        KernelEvent::Overflowed { .. } | KernelEvent::Problem { .. } => return None,
    })
}

const fn word(seen_by: SeenBy) -> &'static str {
    match seen_by {
        SeenBy::Pidfd => "pidfd",
        SeenBy::CgroupEvents => "cgroup_events",
        SeenBy::Removal => "removal",
        SeenBy::Command => "command",
    }
}
