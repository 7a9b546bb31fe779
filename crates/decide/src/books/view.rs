//! The evidence of a pod as it is reported: computed from all facts at once, so that their order does not matter.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::{
    ApiContainer, ApiPod, ContainerEvidence, ContainerExit, ContainerKind, CpuCounters, Gap, Method, PodEvidence, Reading,
    RestartPolicy, Segment, SegmentId, Stage,
};

use super::{
    Options,
    facts::{NEVER, cpu_reading},
    observation::Tree,
    pod::Pod,
};
use crate::join::join;

const API_RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// One run of a container, as the API names it.
struct Run<'a> {
    container: &'a ApiContainer,
    attempt: u32,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
}

impl Pod {
    pub(super) fn view(&self, options: &Options) -> PodEvidence {
        let mut view = self.evidence.clone();
        view.stage = self.stage(options);
        if let Some(api) = &self.api {
            view.namespace = Some(api.namespace.clone());
            view.pod = Some(api.name.clone());
        }
        view.containers.retain(|container| !self.is_sandbox(&container.container_id));
        view.processes.retain(|process| process.container_id.as_ref().is_none_or(|id| !self.is_sandbox(id)));
        self.add_unseen(&mut view, options);
        for container in &mut view.containers {
            self.complete(container, options);
        }
        view.sampled.process_hwm_bytes = self.exits.values().map(waited_hwm).max().flatten().max(view.sampled.process_hwm_bytes);
        if self.counts_by_wait4(options) {
            self.bill_by_wait4(&mut view, options);
        }
        for segment in &mut view.segments {
            if segment.reading.at == NEVER {
                segment.reading.at = segment.first_seen;
            }
        }
        if view.segments.iter().any(|segment| segment.reading.memory.is_some_and(|memory| memory.peak_bytes.is_some())) {
            // The kernel kept the watermark: what was seen of it by looking is of no use.
            view.sampled.usage_peak_bytes = None;
        }
        self.add_gaps(&mut view, options);
        // Normal form: sorted and bounded as every join leaves it.
        let mut normal = self.blank();
        join(&mut normal, &view);
        normal
    }

    pub(super) fn stage(&self, options: &Options) -> Stage {
        if self.is_final() {
            return Stage::Final;
        }
        let mut seen = self.evidence.containers.iter().filter(|c| !self.is_sandbox(&c.container_id)).peekable();
        let ended = seen.peek().is_some() && seen.all(|container| self.end_of(container).is_some());
        let ended = ended || (self.evidence.containers.is_empty() && !self.exits.is_empty() && !options.local_cgroups);
        let computed = if ended && self.expects_nothing() { Stage::Ended } else { Stage::Running };
        computed.max(self.evidence.stage)
    }

    fn is_final(&self) -> bool {
        let cgroup_gone = self.current.as_ref().is_some_and(|current| self.gone.contains(current));
        let api_over = self.api_gone.is_some() || self.api.as_ref().is_some_and(|api| api.phase.is_terminal());
        let not_back = self.rebooted && self.current.is_none() && api_over;
        self.evidence.stage == Stage::Final || cgroup_gone || not_back
    }

    /// When in doubt it does: a report that says `Running` once too often costs nothing.
    fn expects_nothing(&self) -> bool {
        let Some(api) = &self.api else { return false };
        let mut awaited = api.containers.iter().filter(|c| matches!(c.kind, ContainerKind::Init | ContainerKind::Main));
        api.phase.is_terminal()
            || (api.restart_policy != RestartPolicy::Always
                && awaited.all(|container| self.is_over(container, api.restart_policy)))
    }

    fn is_over(&self, container: &ApiContainer, policy: RestartPolicy) -> bool {
        let Some(id) = container.container_id.as_deref() else { return false };
        let exit = self.exits.get(id).map(|exit| exit.exit).or(container.exit);
        let seen = self.evidence.containers.iter().find(|seen| seen.container_id == id);
        let ended = exit.is_some() || seen.is_some_and(|seen| self.end_of(seen).is_some());
        // A container that failed, or whose exit is not known yet, may be started once more.
        ended && (policy == RestartPolicy::Never || exit.is_some_and(|exit| exit.code == Some(0)))
    }

    fn end_of(&self, container: &ContainerEvidence) -> Option<Timestamp> {
        let id = &container.container_id;
        let waited = self.exits.get(id).map(|exit| exit.ended);
        container.ended.into_iter().chain(waited).min().or_else(|| self.vanished.get(id).copied())
    }

    /// The first cgroup of a kubelet's pod, unless the API knows it as a container; and one that came later and that an API
    /// which knows every run does not know: a sandbox made anew.
    fn is_sandbox(&self, container_id: &str) -> bool {
        if self.tree == Some(Tree::Local) || self.exits.contains_key(container_id) || self.run(container_id).is_some() {
            return false;
        }
        match self.orders.get(container_id) {
            Some(0) => true,
            Some(&u32::MAX) | None => false,
            Some(_) => self.api.as_ref().is_some_and(|api| api.containers.iter().all(all_runs_are_known)),
        }
    }

    fn run(&self, container_id: &str) -> Option<Run<'_>> {
        self.api.as_ref()?.containers.iter().flat_map(runs).find(|(id, _)| *id == container_id).map(|(_, run)| run)
    }

    /// Containers that only the API or the executor knows: they ran before this agent looked.
    fn add_unseen(&self, view: &mut PodEvidence, options: &Options) {
        let mut ids: Vec<&str> = self.exits.keys().map(String::as_str).collect();
        if view.stage > Stage::Running && self.has_evidence() {
            let runs = self.api.iter().flat_map(|api: &ApiPod| &api.containers).flat_map(runs);
            ids.extend(runs.filter(|(_, run)| run.started.is_some()).map(|(id, _)| id));
        }
        for id in ids {
            if view.containers.iter().all(|container| container.container_id != id) {
                view.containers.push(ContainerEvidence {
                    container_id: id.to_owned(),
                    name: None,
                    kind: None,
                    attempt: 0,
                    segment: self.home(options),
                    method: Method::Kernel,
                    started: None,
                    ended: None,
                    exit: None,
                    reading: None,
                    sampled: jobmeter_protocol::Sampled::default(),
                });
            }
        }
    }

    fn home(&self, options: &Options) -> SegmentId {
        self.current.clone().unwrap_or_else(|| no_cgroup(options))
    }

    fn complete(&self, container: &mut ContainerEvidence, options: &Options) {
        if container.segment.boot_id.is_empty() {
            container.segment = self.home(options);
        }
        if let Some(run) = self.run(&container.container_id) {
            container.name = Some(run.container.name.clone());
            container.kind = Some(run.container.kind);
            container.attempt = run.attempt;
        }
        let Some(exit) = self.exits.get(&container.container_id) else { return };
        container.name = Some(exit.name.clone());
        container.kind = Some(exit.kind);
        container.attempt = exit.attempt;
        container.started = Some(container.started.map_or(exit.started, |started| started.min(exit.started)));
        container.ended = Some(container.ended.map_or(exit.ended, |ended| ended.min(exit.ended)));
        container.exit = Some(exit.exit);
        container.sampled.process_hwm_bytes = container.sampled.process_hwm_bytes.max(waited_hwm(exit));
    }

    /// Where cgroups are to be had they are waited for: both figures together would bill a job twice.
    fn counts_by_wait4(&self, options: &Options) -> bool {
        let no_kernel = self.evidence.segments.iter().all(|segment| segment.id.cgroup_inode == 0);
        no_kernel && !self.exits.is_empty() && (!options.local_cgroups || self.is_final())
    }

    fn bill_by_wait4(&self, view: &mut PodEvidence, options: &Options) {
        let id = no_cgroup(options);
        for exit in self.exits.values() {
            let Some(container) = view.containers.iter_mut().find(|c| c.container_id == exit.container_id) else { continue };
            container.segment = id.clone();
            container.method = Method::Rusage;
            container.reading = Some(cpu_reading(exit.ended, exit.user_ns, exit.system_ns));
        }
        let sum = |pick: fn(&CpuCounters) -> Option<u64>| {
            let of_rusage = view.containers.iter().filter(|container| container.method == Method::Rusage);
            of_rusage.filter_map(|container| pick(&container.reading.as_ref()?.cpu?)).fold(0_u64, u64::saturating_add)
        };
        let Some(started) = self.exits.values().map(|exit| exit.started).min() else { return };
        let Some(ended) = self.exits.values().map(|exit| exit.ended).max() else { return };
        let reading = cpu_reading(ended, sum(|cpu| cpu.user_ns), sum(|cpu| cpu.system_ns));
        view.segments.retain(|segment| segment.id != id);
        view.segments.push(Segment { id, method: Method::Rusage, first_seen: started, reading });
    }

    fn add_gaps(&self, view: &mut PodEvidence, options: &Options) {
        let is_final = view.stage == Stage::Final;
        // That an executor waited for a container does not mean that the watcher has nothing more to say of it, and a gap
        // that was told once is told for ever.
        let watched_to_its_end = |id: &String| {
            let seen = self.evidence.containers.iter().find(|seen| seen.container_id == *id);
            self.vanished.contains_key(id) || seen.is_some_and(|seen| seen.ended.is_some())
        };
        let mut gaps: Vec<Gap> = view
            .containers
            .iter()
            .filter(|container| container.reading.is_none() && (is_final || watched_to_its_end(&container.container_id)))
            .map(|container| Gap::ContainerMissed { container_id: container.container_id.clone() })
            .collect();
        if is_final {
            let closed_now = view.segments.iter().filter(|segment| !self.closed_before.contains(&segment.id));
            gaps.extend(closed_now.filter_map(|segment| self.missed_end(segment, view, options)));
        }
        for gap in gaps {
            if !view.gaps.contains(&gap) {
                view.gaps.push(gap);
            }
        }
    }

    /// The pod's total is whole if it was read after each of its containers ended.
    fn missed_end(&self, segment: &Segment, view: &PodEvidence, options: &Options) -> Option<Gap> {
        if segment.id.boot_id != options.boot_id || segment.method != Method::Kernel {
            return None;
        }
        let mut containers = view.containers.iter().filter(|container| container.segment == segment.id).peekable();
        containers.peek()?;
        if !was_read(&segment.reading) {
            return Some(Gap::PodMissed { last_reading: None });
        }
        let last = segment.reading.at;
        let read_after = |container: &ContainerEvidence| {
            // The API cuts its times off to whole seconds.
            let told = || self.run(&container.container_id)?.finished?.checked_add(API_RESOLUTION).ok();
            self.end_of(container).or_else(told).is_some_and(|end| end <= last)
        };
        (!containers.all(read_after)).then_some(Gap::PodMissed { last_reading: Some(last) })
    }
}

fn no_cgroup(options: &Options) -> SegmentId {
    SegmentId { boot_id: options.boot_id.clone(), cgroup_inode: 0 }
}

pub(super) fn was_read(reading: &Reading) -> bool {
    reading.cpu.is_some() || reading.memory.is_some()
}

fn runs(container: &ApiContainer) -> impl Iterator<Item = (&str, Run<'_>)> {
    let earlier = container.earlier.iter().map(move |run| {
        let (attempt, started, finished) = (run.attempt, run.started, run.finished);
        (run.container_id.as_str(), Run { container, attempt, started, finished })
    });
    let (attempt, started, finished) = (container.restart_count, container.started, container.finished);
    let current = container.container_id.as_deref().map(|id| (id, Run { container, attempt, started, finished }));
    current.into_iter().chain(earlier)
}

/// The API remembers two runs of each container.
fn all_runs_are_known(container: &ApiContainer) -> bool {
    container.container_id.is_some()
        && usize::try_from(container.restart_count).is_ok_and(|count| count <= container.earlier.len())
}

/// The largest process that `wait4(2)` knows of: with cgroups, too, where the kernel keeps no such watermark.
fn waited_hwm(exit: &ContainerExit) -> Option<u64> {
    Some(exit.max_rss_bytes).filter(|bytes| *bytes > 0)
}
