//! One round over the pods that are due. Blocking.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use jobmeter_decide::{
    books::Sample,
    sampling::{Look, Pace, Plan, Schedule, Skip},
};
use jobmeter_hostfs::{
    HostRoot, ReadError,
    cgroup::{Layout, Live, PodPlace, Reader},
};
use jobmeter_protocol::Reading;

use super::{
    Command, Sampled, SamplerOptions,
    processes::{Found, Processes},
};

pub(super) struct Looker {
    options: SamplerOptions,
    reader: Option<Reader>,
    processes: Processes,
    targets: BTreeMap<String, Target>,
}

struct Target {
    place: Option<PodPlace>,
    live: Option<Live>,
    /// First processes of containers without a cgroup.
    roots: Vec<(String, i32)>,
    pace: Pace,
    schedule: Schedule,
    taken: u64,
    /// Greatest anon + shmem seen: only a pod above it can hold a container above its own.
    anon_shmem_peak: u64,
}

#[derive(Default)]
pub(super) struct Round {
    pub(super) samples: Vec<Sampled>,
    pub(super) asleep: usize,
    pub(super) failed: usize,
}

impl Looker {
    pub(super) fn new(host: &HostRoot, layout: Option<Arc<Layout>>, options: SamplerOptions) -> Self {
        let processes = Processes::new(host, &options);
        Self { options, reader: layout.map(Reader::new), processes, targets: BTreeMap::new() }
    }

    pub(super) fn command(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::Start { pod_uid, place, born } => {
                let pace = pace_of(self.options.pace, place.is_some());
                let schedule = Schedule::new(born, now, &pace);
                let live = place.as_ref().zip(self.reader.as_ref());
                let live = live.map(|(place, reader)| Live::new(reader.layout(), &place.path));
                let target = Target { place, live, roots: Vec::new(), pace, schedule, taken: 0, anon_shmem_peak: 0 };
                self.targets.entry(pod_uid).or_insert(target);
            }
            Command::Root { pod_uid, container_id, pid } => {
                if let Some(target) = self.targets.get_mut(&pod_uid) {
                    target.roots.push((container_id, pid));
                }
            }
            Command::RootEnded { pod_uid, container_id } => {
                if let Some(target) = self.targets.get_mut(&pod_uid) {
                    target.roots.retain(|(id, _)| *id != container_id);
                }
            }
            Command::Stop { pod_uid } => {
                self.targets.remove(&pod_uid);
            }
        }
    }

    /// How long to wait for the first pod that is due.
    pub(super) fn wait(&self, now: Timestamp) -> Option<Duration> {
        self.targets.values().map(|target| target.schedule.wait(now)).min()
    }

    pub(super) fn round(&mut self) -> Round {
        let mut round = Round::default();
        let now = Timestamp::now();
        for (pod_uid, target) in &mut self.targets {
            if !target.schedule.wait(now).is_zero() {
                continue;
            }
            let mut looking = Looking {
                target,
                reader: self.reader.as_mut(),
                processes: &mut self.processes,
                at: Timestamp::now(),
                scan_cost: Duration::ZERO,
            };
            match looking.look() {
                Ok(Some(sample)) => round.samples.push(Sampled { pod_uid: pod_uid.clone(), sample: Box::new(sample) }),
                Ok(None) => round.asleep += 1,
                Err(err) => {
                    round.failed += 1;
                    tracing::debug!(pod_uid, error = &err as &dyn Error, "failed to sample a pod");
                }
            }
        }
        round
    }
}

/// One look at one pod.
struct Looking<'a> {
    target: &'a mut Target,
    reader: Option<&'a mut Reader>,
    processes: &'a mut Processes,
    at: Timestamp,
    scan_cost: Duration,
}

impl Looking<'_> {
    fn look(&mut self) -> Result<Option<Sample>, ReadError> {
        let cpu_ns = self.target.live.as_mut().map_or(Ok(None), Live::cpu_usage_ns);
        let counter = cpu_ns.as_ref().ok().copied().flatten();
        let plan = self.target.schedule.plan(counter, self.at);
        let sample = match (plan, cpu_ns) {
            (Plan::Skip(Skip::Asleep | Skip::NotDue), Ok(_)) => Ok(None),
            (Plan::Look(look), Ok(_)) if self.target.place.is_some() || look.processes => self.take(look, counter).map(Some),
            (Plan::Look(_), Ok(_)) => Ok(None),
            (_, Err(err)) => Err(err),
        };
        self.target.schedule.done(plan, counter, self.scan_cost, self.at, &self.target.pace);
        sample
    }

    fn take(&mut self, look: Look, cpu_ns: Option<u64>) -> Result<Sample, ReadError> {
        let found = if look.processes { Some(self.scan()?) } else { None };
        let mut sample = Sample {
            at: self.at,
            count: self.target.taken + 1,
            cpu_ns,
            memory_bytes: None,
            anon_shmem_bytes: None,
            containers: Vec::new(),
            processes: None,
            reading: None,
        };
        if let (Some(reader), Some(place), Some(live)) = (&mut self.reader, &self.target.place, &mut self.target.live) {
            if look.memory
                && let Some(now) = live.memory_now()?
            {
                sample.memory_bytes = now.usage_bytes;
                sample.anon_shmem_bytes = now.anon_shmem_bytes;
            }
            if sample.anon_shmem_bytes > Some(self.target.anon_shmem_peak) {
                self.target.anon_shmem_peak = sample.anon_shmem_bytes.unwrap_or(0);
                sample.containers = containers(reader, place)?;
            }
            if look.reading {
                sample.reading = reading(reader, place, self.at);
            }
        } else if let Some(found) = &found {
            sample.cpu_ns = Some(found.cpu_ns);
            sample.anon_shmem_bytes = Some(found.anon_shmem_bytes);
        }
        sample.processes = found.map(|found| found.scan);
        self.target.taken += 1;
        Ok(sample)
    }

    fn scan(&mut self) -> Result<Found, ReadError> {
        let started = Instant::now();
        let mut pids: HashMap<i32, Option<String>> = HashMap::new();
        if let (Some(reader), Some(place)) = (&mut self.reader, &self.target.place) {
            let mut found = Vec::new();
            for container in reader.containers(place)? {
                found.clear();
                reader.pids(&container.path, &mut found)?;
                pids.extend(found.iter().map(|pid| (*pid, Some(container.container_id.clone()))));
            }
        }
        for (container_id, root) in &self.target.roots {
            let mut found = Vec::new();
            self.processes.descendants(*root, &mut found)?;
            pids.extend(found.into_iter().map(|pid| (pid, Some(container_id.clone()))));
        }
        let found = self.processes.look(&pids, self.at);
        self.scan_cost = started.elapsed();
        Ok(found)
    }
}

/// Without a cgroup the processes are all there is to look at, so they are looked at as often as the pod, and for more.
fn pace_of(pace: Pace, has_cgroup: bool) -> Pace {
    let processes_only = Pace { first_scan: pace.first, steady_scan: pace.steady, scan_duty: pace.scan_duty / 5, ..pace };
    if has_cgroup { pace } else { processes_only }
}

fn containers(reader: &mut Reader, place: &PodPlace) -> Result<Vec<(String, u64)>, ReadError> {
    let mut anon_shmem = Vec::new();
    for container in reader.containers(place)? {
        let now = reader.memory_now(&container.path)?;
        anon_shmem.extend(now.and_then(|now| now.anon_shmem_bytes).map(|bytes| (container.container_id, bytes)));
    }
    Ok(anon_shmem)
}

fn reading(reader: &mut Reader, place: &PodPlace, at: Timestamp) -> Option<Box<Reading>> {
    let outcome = reader.read(&place.path, at);
    for problem in &outcome.problems {
        tracing::warn!(error = problem as &dyn Error, "failed to read a counter");
    }
    outcome.reading.map(Box::new)
}
