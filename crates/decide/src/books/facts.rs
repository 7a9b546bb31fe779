//! One observation into the facts of one pod. Facts only grow, so an observation may come twice or late.

use jiff::Timestamp;
use jobmeter_protocol::{
    ContainerEvidence, CpuCounters, Gap, Method, PodEvidence, ProcessEvidence, Reading, Sampled, Segment, SegmentId, Stage,
    evidence::MAX_GAPS,
};

use super::{
    Options,
    observation::{Observation, Sample},
    pod::Pod,
    view::was_read,
};
use crate::join::{join, join_reading, join_sampled};

/// When a cgroup that was never read was read. The view shows another moment.
pub(super) const NEVER: Timestamp = Timestamp::UNIX_EPOCH;

/// What an observation did to the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    Nothing,
    /// Worth keeping; the next report will have it.
    Minor,
    /// Worth a report.
    Major,
}

impl Pod {
    pub(super) fn learn(&mut self, observation: Observation, options: &Options, now: Timestamp) -> Change {
        match observation {
            Observation::Appeared { segment, at, tree } => {
                self.tree = Some(tree);
                self.seen_segment(segment, at, None)
            }
            Observation::ContainerAppeared { container_id, order, at } => {
                let known = self.orders.entry(container_id.clone()).or_insert(order);
                *known = order.max(*known);
                let container = ContainerEvidence { started: at, ..self.container(&container_id) };
                self.join_container(container, Change::Minor)
            }
            Observation::ContainerEnded { container_id, at, container, pod, late } => {
                let read = pod.map_or(Change::Nothing, |pod| self.read(*pod));
                if late {
                    self.vanished.entry(container_id.clone()).or_insert(at);
                }
                let ended = ContainerEvidence {
                    ended: (!late).then_some(at),
                    reading: container.map(|reading| *reading),
                    ..self.container(&container_id)
                };
                read.max(self.join_container(ended, Change::Major))
            }
            Observation::Read(reading) => self.read(*reading),
            Observation::Gone { segment, reading, at } => {
                let first = self.gone.insert(segment.clone());
                let change = self.seen_segment(segment.clone(), at, reading.map(|reading| *reading));
                if self.current.as_ref() == Some(&segment) {
                    self.lose_sight();
                }
                if first { Change::Major } else { change }
            }
            Observation::Looked { segment, tree, pod, containers, at } => {
                self.tree = Some(tree);
                self.looking = false;
                let seen = self.seen_segment(segment, at, pod.map(|pod| *pod));
                let present: Vec<&str> = containers.iter().map(|(id, _)| id.as_str()).collect();
                let vanished = self.find_vanished(&present, at);
                let read = containers.into_iter().map(|(id, reading)| self.found_container(&id, reading)).max();
                seen.max(vanished).max(read.unwrap_or(Change::Nothing))
            }
            Observation::NotThere => self.not_there(),
            Observation::Malformed { path, why } => self.add_gap(Gap::Malformed { path, why }),
            Observation::Api(api) => {
                let change = if self.api.as_ref() == Some(&*api) { Change::Nothing } else { Change::Minor };
                self.api = Some(*api);
                self.api_gone = None;
                change
            }
            Observation::ApiGone => {
                let first = self.api_gone.is_none();
                self.api_gone.get_or_insert(now);
                if first { Change::Minor } else { Change::Nothing }
            }
            Observation::Started { container_id } => self.join_container(self.container(&container_id), Change::Minor),
            Observation::Exited(exit) => {
                let known = self.exits.insert(exit.container_id.clone(), (*exit).clone());
                if known.as_ref() == Some(&*exit) { Change::Nothing } else { Change::Major }
            }
            Observation::FinalAsked => self.finish(),
            Observation::Identified(identity) => {
                self.identified = true;
                let Some(identity) = identity else { return Change::Nothing };
                let named = PodEvidence { namespace: Some(identity.namespace), pod: Some(identity.pod), ..self.blank() };
                if join(&mut self.evidence, &named) { Change::Minor } else { Change::Nothing }
            }
            Observation::Sampled(sample) => self.sampled(&sample, options),
            Observation::Wanted => {
                self.wanted = true;
                self.claimed = true;
                self.looking = true;
                Change::Nothing
            }
            Observation::Meter => {
                self.claimed = true;
                self.looking = true;
                Change::Nothing
            }
            Observation::Acked { revision, .. } => {
                self.acked = self.acked.max(revision);
                Change::Nothing
            }
        }
    }

    fn seen_segment(&mut self, id: SegmentId, at: Timestamp, reading: Option<Reading>) -> Change {
        if self.evidence.segments.iter().all(|segment| segment.id != id) {
            self.lose_sight();
            if !self.evidence.segments.is_empty() && !self.gone.contains(&id) {
                self.gone.extend(self.current.take());
                self.begin_again();
            }
            self.current = Some(id.clone());
        }
        if reading.is_some() && self.current.as_ref() == Some(&id) {
            self.out_of_sight = None;
        }
        let reading = reading.unwrap_or_else(|| empty_reading(NEVER));
        let segment = Segment { id, method: Method::Kernel, first_seen: at, reading };
        let mut delta = PodEvidence { segments: vec![segment], ..self.blank() };
        if let (Some(unplaced), Some(segment)) = (self.unplaced.take(), delta.segments.first_mut()) {
            join_reading(&mut segment.reading, &unplaced);
        }
        if join(&mut self.evidence, &delta) { Change::Minor } else { Change::Nothing }
    }

    fn read(&mut self, reading: Reading) -> Change {
        let current = self.current.as_ref();
        let Some(segment) = self.evidence.segments.iter_mut().find(|segment| Some(&segment.id) == current) else {
            // Which life of the pod it belongs to will be told.
            match &mut self.unplaced {
                Some(unplaced) => join_reading(unplaced, &reading),
                None => self.unplaced = Some(reading),
            }
            return Change::Minor;
        };
        self.out_of_sight = None;
        let before = segment.reading.clone();
        join_reading(&mut segment.reading, &reading);
        if segment.reading == before { Change::Nothing } else { Change::Minor }
    }

    /// Containers of this life of the pod that have no cgroup any more ended while nobody was looking; when exactly, only
    /// the API can tell.
    fn find_vanished(&mut self, present: &[&str], at: Timestamp) -> Change {
        let mut change = Change::Nothing;
        for container in &self.evidence.containers {
            let here = Some(&container.segment) == self.current.as_ref();
            if !here || container.ended.is_some() || present.contains(&container.container_id.as_str()) {
                continue;
            }
            let since = self.vanished.entry(container.container_id.clone()).or_insert_with(|| {
                change = Change::Major;
                at
            });
            *since = at.min(*since);
        }
        change
    }

    /// Its end was or will be told by the watcher; its figures are safe already.
    fn found_container(&mut self, container_id: &str, reading: Option<Box<Reading>>) -> Change {
        let Some(reading) = reading else { return Change::Nothing };
        let read = ContainerEvidence { reading: Some(*reading), ..self.container(container_id) };
        self.join_container(read, Change::Minor)
    }

    fn not_there(&mut self) -> Change {
        self.looking = false;
        match &self.current {
            Some(current) if self.gone.insert(current.clone()) => {
                self.lose_sight();
                Change::Major
            }
            _ => Change::Nothing,
        }
    }

    /// The cgroup went and was not read since this agent came back: what ran in it meanwhile, nobody can tell, unless the
    /// journal says that nothing more was expected.
    fn lose_sight(&mut self) {
        if self.out_of_sight.take().is_none_or(|stage| stage >= Stage::Ended) {
            return;
        }
        let last = self.evidence.segments.iter().find(|segment| Some(&segment.id) == self.current.as_ref());
        let last_reading = last.filter(|segment| was_read(&segment.reading)).map(|segment| segment.reading.at);
        self.add_gap(Gap::PodMissed { last_reading });
    }

    pub(super) fn finish(&mut self) -> Change {
        let final_before = std::mem::replace(&mut self.evidence.stage, Stage::Final) == Stage::Final;
        if final_before { Change::Nothing } else { Change::Major }
    }

    /// Not by [`join`]: this is the one observation that comes all the time.
    fn sampled(&mut self, sample: &Sample, options: &Options) -> Change {
        self.live.advance(sample);
        let peak = Sampled {
            samples: self.samples_before + sample.count,
            anon_shmem_peak_bytes: sample.anon_shmem_bytes,
            process_hwm_bytes: sample.processes.iter().flat_map(|scan| &scan.most_expensive).filter_map(|p| p.hwm_bytes).max(),
            usage_peak_bytes: sample.memory_bytes,
        };
        join_sampled(&mut self.evidence.sampled, &peak);
        let mut delta = PodEvidence { ..self.blank() };
        for (container_id, anon_shmem) in &sample.containers {
            let sampled = Sampled { samples: peak.samples, anon_shmem_peak_bytes: Some(*anon_shmem), ..Sampled::default() };
            delta.containers.push(ContainerEvidence { sampled, ..self.container(container_id) });
        }
        for process in sample.processes.iter().flat_map(|scan| &scan.most_expensive) {
            if let Some(container_id) = &process.container_id {
                let sampled = Sampled { samples: peak.samples, process_hwm_bytes: process.hwm_bytes, ..Sampled::default() };
                delta.containers.push(ContainerEvidence { sampled, ..self.container(container_id) });
            }
            delta.processes.push(process.clone());
        }
        if !delta.containers.is_empty() || !delta.processes.is_empty() {
            join(&mut self.evidence, &delta);
            keep_most_expensive(&mut self.evidence.processes, options.limits.processes);
        }
        if let Some(reading) = &sample.reading {
            self.read((**reading).clone());
        }
        Change::Minor
    }

    fn add_gap(&mut self, gap: Gap) -> Change {
        if self.evidence.gaps.len() >= MAX_GAPS {
            return Change::Nothing;
        }
        let delta = PodEvidence { gaps: vec![gap], ..self.blank() };
        if join(&mut self.evidence, &delta) { Change::Minor } else { Change::Nothing }
    }

    fn join_container(&mut self, container: ContainerEvidence, worth: Change) -> Change {
        let delta = PodEvidence { containers: vec![container], ..self.blank() };
        if join(&mut self.evidence, &delta) { worth } else { Change::Nothing }
    }

    fn container(&self, container_id: &str) -> ContainerEvidence {
        let unplaced = || SegmentId { boot_id: String::new(), cgroup_inode: 0 };
        // A container stays in the life of the pod in which it was first seen.
        let known = self.evidence.containers.iter().find(|container| container.container_id == container_id);
        ContainerEvidence {
            container_id: container_id.to_owned(),
            name: None,
            kind: None,
            attempt: 0,
            segment: known
                .map(|container| container.segment.clone())
                .filter(|segment| !segment.boot_id.is_empty())
                .or_else(|| self.current.clone())
                .unwrap_or_else(unplaced),
            method: Method::Kernel,
            started: None,
            ended: None,
            exit: None,
            reading: None,
            sampled: Sampled::default(),
        }
    }
}

/// In the order of their key, as every join leaves them.
fn keep_most_expensive(processes: &mut Vec<ProcessEvidence>, kept: usize) {
    if processes.len() > kept {
        processes.sort_by_key(|process| (std::cmp::Reverse(process.cpu_ns), process.pid, process.start_ticks));
        processes.truncate(kept);
        processes.sort_by_key(|process| (process.pid, process.start_ticks));
    }
}

pub(super) fn empty_reading(at: Timestamp) -> Reading {
    Reading { at, cpu: None, memory: None, pids_peak: None, io: None, pressure: None }
}

pub(super) fn cpu_reading(at: Timestamp, user_ns: u64, system_ns: u64) -> Reading {
    let cpu = CpuCounters {
        usage_ns: user_ns.saturating_add(system_ns),
        user_ns: Some(user_ns),
        system_ns: Some(system_ns),
        ..CpuCounters::default()
    };
    Reading { cpu: Some(cpu), ..empty_reading(at) }
}
