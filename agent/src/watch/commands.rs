//! What others ask of the thread: read a pod now, say where it is, follow it or not, stop.

use std::time::Duration;

use jiff::Timestamp;
use jobmeter_hostfs::cgroup::PodPlace;

use super::{
    ContainerSnapshot, PodSnapshot, SeenBy,
    inbox::Request,
    pod::{Key, Life, merge, oom_kills},
    thread::{Due, Thread, Wake},
};

/// How long a question about a pod waits if something in it has just ended.
const SETTLED: Duration = Duration::from_millis(2);

impl Thread {
    /// Takes what is asked; questions are answered one by one, so that what dies meanwhile is read in between. `false`: stop.
    pub(super) fn obey(&mut self) -> bool {
        let pending = self.inbox().take();
        for (pod_uid, on) in pending.follow {
            let followed = self.pods.get(&pod_uid).map(|pod| pod.watch.is_some());
            match (followed, on) {
                (Some(false), true) => {
                    self.attaching = true;
                    self.follow_pod(&pod_uid);
                    self.attaching = false;
                }
                (Some(_), false) => self.unfollow_pod(&pod_uid),
                _ => {}
            }
        }
        self.requests.extend(pending.requests);
        self.looked_around = false;
        !pending.stop
    }

    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Read { pod_uid, answer } if self.is_settling(&pod_uid) => {
                self.postponed.push((pod_uid, answer));
                self.after(SETTLED, Due::Answers);
            }
            // An answer that nobody waits for any more is no error.
            Request::Read { pod_uid, answer } => answer.send(self.snapshot(&pod_uid)).unwrap_or_default(),
            Request::Locate { pod_uid, answer } => answer.send(self.place(&pod_uid)).unwrap_or_default(),
        }
    }

    pub(super) fn answer_the_postponed(&mut self) {
        for (pod_uid, answer) in std::mem::take(&mut self.postponed) {
            answer.send(self.snapshot(&pod_uid)).unwrap_or_default();
        }
    }

    /// Whether one of its containers has ended just now. Who waited for its process asks at once, and would be told less than
    /// what the kernel charges in the next moment.
    fn is_settling(&mut self, pod_uid: &str) -> bool {
        self.catch_up(pod_uid);
        let keys = self.pods.get(pod_uid).map(|pod| pod.containers.clone()).unwrap_or_default();
        let mut settling = false;
        for key in keys {
            if self.containers.get(&key).is_some_and(|container| container.life == Life::Running) && self.has_lived_and_left(key)
            {
                self.catch(key, Wake::Events, Timestamp::now());
                self.end(key, SeenBy::Command, Timestamp::now());
            }
            settling |= self.containers.get(&key).is_some_and(|container| matches!(container.life, Life::Settling { .. }));
        }
        settling
    }

    fn place(&mut self, pod_uid: &str) -> Option<PodPlace> {
        self.catch_up(pod_uid);
        self.pods.get(pod_uid).map(|pod| pod.place.clone())
    }

    /// Handles what the directories have already told; looks for itself only if that does not explain the question, and once
    /// for all that was asked at the same time: a look walks the whole tree, and a coordinator may ask for a thousand pods.
    fn catch_up(&mut self, pod_uid: &str) {
        self.catch_up_with_news();
        if !self.pods.contains_key(pod_uid) && !std::mem::replace(&mut self.looked_around, true) {
            self.look_for_roots();
            self.find_new();
        }
    }

    fn snapshot(&mut self, pod_uid: &str) -> Option<PodSnapshot> {
        self.catch_up(pod_uid);
        let pod = self.pods.get(pod_uid)?;
        let (followed, segment, kind) = (pod.watch.is_some(), pod.segment.clone(), pod.place.kind);
        let keys = pod.containers.clone();
        let containers = if followed {
            keys.into_iter().filter_map(|key| self.container_now(key)).collect()
        } else {
            self.containers_of_stranger(pod_uid)
        };
        let reading = self.read_pod_level(pod_uid);
        Some(PodSnapshot { pod_uid: pod_uid.to_owned(), segment, kind, reading, containers })
    }

    /// Reads a container; where it is found ended, reports that first.
    fn container_now(&mut self, key: Key) -> Option<ContainerSnapshot> {
        let at = Timestamp::now();
        let running = self.emptiness(key) != Some(true);
        let container = self.containers.get_mut(&key)?;
        let outcome = self.reader.read(&container.path, at);
        container.oom_kills = container.oom_kills.max(oom_kills(outcome.reading.as_ref()));
        let lived = outcome.reading.as_ref().is_some_and(|reading| reading.cpu.is_some_and(|cpu| cpu.usage_ns > 0));
        let (container_id, order) = (container.container_id.clone(), container.order);
        if !running && lived {
            if !container.is_over() {
                container.candidate = merge(container.candidate.take(), outcome.reading.clone());
            }
            self.end(key, SeenBy::Command, at);
            self.report(key);
        }
        self.problems(outcome.problems);
        Some(ContainerSnapshot { container_id, order, running, reading: outcome.reading })
    }

    fn containers_of_stranger(&mut self, pod_uid: &str) -> Vec<ContainerSnapshot> {
        let Some(pod) = self.pods.get(pod_uid) else { return Vec::new() };
        let places = match self.reader.containers(&pod.place) {
            Ok(places) => places,
            Err(problem) => {
                self.problems([problem]);
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for (order, place) in (0..).zip(places) {
            let outcome = self.reader.read(&place.path, Timestamp::now());
            let mut pids = Vec::new();
            let listed = self.reader.pids(&place.path, &mut pids);
            self.problems(outcome.problems.into_iter().chain(listed.err()));
            let (container_id, running) = (place.container_id, !pids.is_empty());
            found.push(ContainerSnapshot { container_id, order, running, reading: outcome.reading });
        }
        found
    }
}
