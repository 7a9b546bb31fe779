//! The readings: caught when a container seems to end, completed when it has settled, and those of its pod.

use std::time::Duration;

use jiff::Timestamp;
use jobmeter_hostfs::cgroup::{Held, ReadOutcome};
use jobmeter_protocol::Reading;

use super::{
    KernelEvent, SeenBy,
    pod::{Key, Life, merge, oom_kills},
    thread::{Due, Thread, Wake},
};

/// Looks for processes that are not reaped: 1, 2, 4, 8, 16 ms apart.
const MOST_LOOKS: u32 = 5;

impl Thread {
    /// Reads the held counters of a container that seems to end. Nothing else: others may be dying too.
    pub(super) fn catch(&mut self, key: Key, wake: Wake, at: Timestamp) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        if container.life == Life::Reported {
            return;
        }
        let ReadOutcome { reading, problems } = container.held.read(&self.layout, &container.path, at);
        container.candidate = merge(container.candidate.take(), reading);
        container.caught_by = Some(if wake == Wake::Pidfd { SeenBy::Pidfd } else { SeenBy::CgroupEvents });
        self.problems(problems);
    }

    /// Reports an end once its processes are reaped. A dying process leaves its cgroup early, and is charged for its last slice
    /// when it is switched out for the last time; on a busy machine that may be milliseconds later.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let Life::Settling { seen_by, .. } = container.life else { return };
        container.tries += 1;
        let tries = container.tries;
        let unreaped = match self.reader.task_count(&container.path) {
            Ok(tasks) => tasks.is_some_and(|tasks| tasks > 0),
            Err(problem) => {
                self.problems([problem]);
                false
            }
        };
        if unreaped && tries < MOST_LOOKS {
            let wake = if seen_by == SeenBy::Pidfd { Wake::Pidfd } else { Wake::Events };
            self.catch(key, wake, Timestamp::now());
            self.after(Duration::from_millis(1 << tries), Due::Report(key));
        } else {
            self.report(key);
        }
    }

    /// Reports an end that has been noted: reads once more, and the pod with it.
    pub(super) fn report(&mut self, key: Key) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let Life::Settling { at, seen_by } = container.life else { return };
        let mut outcome = container.held.read(&self.layout, &container.path, Timestamp::now());
        if container.held.is_empty() {
            outcome = self.reader.read(&container.path, Timestamp::now());
        }
        self.reader.complete(&container.path, &mut outcome);
        let reading = merge(container.candidate.take(), outcome.reading);
        container.oom_kills = container.oom_kills.max(oom_kills(reading.as_ref()));
        container.life = Life::Reported;
        // What is left of it is a name, so that its directory is not taken for a new container.
        container.held = Held::default();
        let (pod_uid, container_id) = (container.pod_uid.clone(), container.container_id.clone());
        let late = container.late && container.followed.is_none();
        self.problems(outcome.problems);
        let pod = self.read_pod_level(&pod_uid);
        self.outbox.push(KernelEvent::ContainerEnded { pod_uid, container_id, at, container: reading, pod, seen_by, late });
    }

    /// The pod itself; on v1 with the OOM kills of its containers, which the kernel does not add up there.
    pub(super) fn read_pod_level(&mut self, pod_uid: &str) -> Option<Reading> {
        let pod = self.pods.get(pod_uid)?;
        let ReadOutcome { reading, problems } = self.reader.read(&pod.place.path, Timestamp::now());
        let below: u64 = pod.containers.iter().filter_map(|key| self.containers.get(key)).map(|known| known.oom_kills).sum();
        let below = below + pod.oom_kills_of_the_gone;
        self.problems(problems);
        let mut reading = reading?;
        if !self.layout.oom_kills_are_hierarchical()
            && let Some(own) = reading.memory.as_mut().and_then(|memory| memory.oom_kills.as_mut())
        {
            *own += below;
        }
        let pod = self.pods.get_mut(pod_uid)?;
        pod.last = merge(pod.last.take(), Some(reading.clone()));
        Some(reading)
    }
}
