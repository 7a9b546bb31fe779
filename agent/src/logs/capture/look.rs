//! One look at all that is held: what each pod is, which logs are whole, what may go.

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, Instant},
};

use jobmeter_decide::{
    books::Standing,
    logs::seal::{FORGOTTEN, Facts, Step, seal},
};
use jobmeter_hostfs::lease;

use super::{
    run::{Phase, Run},
    saved::{Done, Fate},
    spool::{Pod, remove_empty},
    thread::Thread,
};

/// A pod that the books do not know yet may be about to be seen.
const NEWS: Duration = Duration::from_secs(10);
/// After this a stored log that is asked for again is said to be gone.
const IN_FLIGHT: Duration = Duration::from_secs(600);

impl Thread {
    pub(super) fn look(&mut self) {
        let names: Vec<String> = self.pods.keys().cloned().collect();
        let mut taken_up = Vec::new();
        for name in &names {
            let Some(mut pod) = self.pods.remove(name) else { continue };
            let there = self.pod_logs.join(name).is_dir();
            if self.stand(&mut pod) {
                taken_up.push(pod.identity.clone());
            }
            self.look_at(&mut pod, there);
            if there || !pod.runs.is_empty() {
                self.pods.insert(name.clone(), pod);
            }
        }
        taken_up.into_iter().for_each(|identity| self.scan_pod(identity));
        self.keep_room();
    }

    /// What the pod is by now. `true`: it was left alone, and is a job after all.
    fn stand(&self, pod: &mut Pod) -> bool {
        let Some(standings) = &self.standings else { return false };
        let standing = standings.standing(&pod.identity.pod_uid);
        pod.job = standing.job.or(pod.job);
        let undecided = pod.job.is_none() && standing.heard && !standing.over && pod.since.elapsed() >= self.options.undecided;
        let alone = pod.job == Some(false) || undecided;
        let back = pod.left_alone && !alone;
        pod.left_alone = alone;
        let believable = is_believable(&standing, pod.since);
        pod.came_back |= back;
        for ((container, attempt), run) in &mut pod.runs {
            run.ended = believable && standing.is_over(container, *attempt);
            run.pod_over = believable && standing.over;
        }
        back
    }

    fn look_at(&mut self, pod: &mut Pod, there: bool) {
        let newest = newest_attempts(pod);
        let (job, alone, came_back) = (pod.job, pod.left_alone, pod.came_back);
        let mut dropped = Vec::new();
        for (key, run) in &mut pod.runs {
            if run.phase == Phase::Done {
                if !there {
                    dropped.push(key.clone());
                } else if !run.pieces.is_empty()
                    && let Err(error) = run.settle()
                {
                    self.problem(run.dir.clone(), &error);
                }
                continue;
            }
            match measure(run) {
                Ok(removed) => self.metrics.lost.with_label_values(&["unreadable"]).inc_by(removed),
                Err(error) => self.problem(run.dir.clone(), &error),
            }
            if matches!(run.phase, Phase::Sealed { .. }) {
                continue;
            }
            if !run.has_content() {
                // Its files were duplicates, or went; and an empty directory says nothing.
                dropped.extend((!there || alone).then(|| key.clone()));
                continue;
            }
            // A kubelet removes none before there are several.
            if came_back
                && run.pieces.len() > 1
                && let Err(error) = run.add_missing(WAS_NO_JOB.to_owned(), None)
            {
                self.problem(run.dir.clone(), &error);
            }
            let followed = newest.iter().any(|(container, attempt)| *container == key.0 && *attempt > key.1);
            // What the kubelet has removed and nobody writes to can become no more, whatever anybody knows of the pod.
            run.pod_over |= !there;
            if self.consider(run, if alone { Some(false) } else { job }, followed) {
                dropped.push(key.clone());
            }
        }
        for key in dropped {
            if let Some(run) = pod.runs.remove(&key) {
                let gone = run.remove().and_then(|()| remove_empty(&self.options.spool, &run.log));
                if let Err(error) = gone {
                    self.problem(run.dir.clone(), &error);
                }
            }
        }
    }

    /// `true`: nothing of it is kept.
    fn consider(&mut self, run: &mut Run, job: Option<bool>, followed: bool) -> bool {
        if job == Some(false) {
            return true;
        }
        let mut facts = Facts {
            ended: run.ended,
            newer_attempt: followed,
            pod_over: run.pod_over,
            has_writer: None,
            unchanged_for: run.quiet_since.elapsed(),
        };
        let mut whole = true;
        if facts.ended || facts.newer_attempt || facts.pod_over {
            // The writer first: what it wrote before it closed is read after.
            match has_writer(run) {
                Ok(writer) => facts.has_writer = writer,
                Err(error) => self.problem(run.dir.clone(), &error),
            }
            whole = self.catch_up(run);
        }
        match seal(&facts) {
            Step::Seal if !whole => {}
            Step::Seal => {
                let why = format!("a process held it open for writing {} s after its pod's end", FORGOTTEN.as_secs());
                let noted = if facts.has_writer == Some(true) { run.add_missing(why, None).map(drop) } else { Ok(()) };
                match noted {
                    Ok(()) => self.seal(run, job),
                    Err(error) => self.problem(run.dir.clone(), &error),
                }
            }
            Step::Wait(why) => tracing::trace!(log = ?run.log, why = why.as_str(), "a log is not sealed yet"),
        }
        false
    }

    /// For the coordinator's questions, for metrics, and for those who wait.
    pub(super) fn publish(&mut self) {
        let (mut logs, mut states) = (std::collections::BTreeMap::new(), [0_i64; 3]);
        let (now, mut oldest) = (jiff::Timestamp::now(), 0);
        for run in self.pods.values().flat_map(|pod| pod.runs.values()) {
            let answer = match (&run.phase, &run.done) {
                (Phase::Done, Some(Done { fate: Fate::Dropped { why }, .. })) => Some(why.clone()),
                (Phase::Done, Some(Done { fate: Fate::Stored { key }, at, .. })) if is_long_ago(*at) => {
                    Some(format!("it was stored as {key} and has left this node's spool since"))
                }
                (Phase::Done, _) => None,
                _ if run.has_content() => None,
                _ => continue,
            };
            let (state, since) = match &run.phase {
                Phase::Open => (0, None),
                Phase::Sealed { since, .. } => (1, Some(*since)),
                Phase::Done => (2, None),
            };
            oldest = since.map_or(oldest, |since| oldest.max(now.duration_since(since).as_secs()));
            states[state] += 1;
            logs.insert(run.log.clone(), answer);
        }
        for (state, count) in ["open", "sealed", "done"].into_iter().zip(states) {
            self.metrics.logs.with_label_values(&[state]).set(count);
        }
        self.metrics.oldest_seconds.set(oldest);
        self.inbox.known().logs = logs;
        self.answer_the_waiting();
    }

    fn answer_the_waiting(&mut self) {
        let pods = &self.pods;
        let waits = |uid: &str| {
            let runs = pods.values().filter(|pod| pod.identity.pod_uid == uid).flat_map(|pod| pod.runs.values());
            runs.into_iter().any(|run| run.phase != Phase::Done && run.has_content())
        };
        let (waiting, ready) = std::mem::take(&mut self.awaited).into_iter().partition(|(uid, _)| waits(uid));
        self.awaited = waiting;
        // Who went away meanwhile asks nothing any more.
        let ready: Vec<(String, tokio::sync::oneshot::Sender<()>)> = ready;
        ready.into_iter().for_each(|(_, answer)| answer.send(()).unwrap_or_default());
    }
}

const WAS_NO_JOB: &str = "its pod was not taken for a job at first: files that the kubelet had removed by then are not in it";

/// That nobody knows a pod is an answer only after everybody had the time to see it.
fn is_believable(standing: &Standing, since: Instant) -> bool {
    standing.known || since.elapsed() >= NEWS
}

fn newest_attempts(pod: &Pod) -> Vec<(String, u32)> {
    pod.runs.iter().filter(|(_, run)| !run.pieces.is_empty()).map(|(key, _)| key.clone()).collect()
}

fn is_long_ago(at: jiff::Timestamp) -> bool {
    jiff::Timestamp::now().duration_since(at) >= jiff::SignedDuration::try_from(IN_FLIGHT).unwrap_or(jiff::SignedDuration::MAX)
}

/// Sizes change while nobody tells. Returns how many pieces somebody else has removed: those are holes, and the rest is sealed.
fn measure(run: &mut Run) -> io::Result<u64> {
    let (mut bytes, mut removed) = (0, Vec::new());
    for piece in &run.pieces {
        match fs::metadata(run.path(&piece.name)) {
            Ok(metadata) => bytes += metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => removed.push(piece.name),
            Err(error) => return Err(error),
        }
    }
    for name in &removed {
        run.add_missing(format!("{name} was removed from the spool, and not by the agent"), None)?;
        run.pieces.retain(|piece| piece.name != *name);
    }
    if bytes != run.bytes {
        run.bytes = bytes;
        run.quiet_since = Instant::now();
    }
    Ok(removed.len() as u64)
}

/// Of any of its files; `None`: of one at least it cannot be told.
fn has_writer(run: &Run) -> io::Result<Option<bool>> {
    let mut answer = Some(false);
    for piece in &run.pieces {
        let one = match &piece.copying {
            Some(copying) => copying.has_writer()?,
            // The source is gone; what there is of it is all.
            None if piece.name.kind.is_copy() => Some(false),
            None => writer_of(&run.path(&piece.name))?,
        };
        match one {
            Some(true) => return Ok(Some(true)),
            Some(false) => {}
            None => answer = None,
        }
    }
    Ok(answer)
}

fn writer_of(path: &Path) -> io::Result<Option<bool>> {
    lease::has_writer(&File::open(path)?)
}
